/**
 * One run a folder: RUN/run.lock names the process that writes there. A process of this machine is known by its id and start,
 * one of another machine or container by the file's time, which its holder renews; a lock whose holder is gone is taken over.
 * Of a run of several ranks only the one that writes the folder takes it.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync, rmSync } from 'node:fs';
import { readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { StateError } from '../errors.js';
import { fileError } from '../read-file.js';
import { makeDirectory, unfinishedMark } from '../write-file.js';

const lockFile = 'run.lock';
const renewSeconds = 10;
/** Without a sign of life for so long, a holder that cannot be looked at counts as gone. */
const silentSeconds = 60;
const attempts = 5;

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** Boot and process namespace: where `pid` means this process. */
  readonly machine: string;
  /** When the process began, in the kernel's ticks: a process id is used again. */
  readonly start: string;
  readonly since: string;
}

interface FoundLock {
  readonly text: string;
  /** Undefined while it is being written, and where its writer was killed. */
  readonly holder: Holder | undefined;
  readonly silentMs: number;
}

export class RunLock {
  readonly #file: string;
  readonly #text: string;
  readonly #timer: NodeJS.Timeout;

  private constructor(file: string, text: string) {
    this.#file = file;
    this.#text = text;
    this.#timer = setInterval(() => {
      const now = new Date();
      utimes(file, now, now).catch(() => {}); // a later renewal serves as well
    }, renewSeconds * 1000).unref();
  }

  /** Makes the folder and takes its lock. Throws `ERR_COTS_BUSY` where another process has it, `ERR_COTS_FILE`. */
  static async take(directory: string): Promise<RunLock> {
    await makeDirectory(directory);
    const file = path.join(directory, lockFile);
    const text = `${JSON.stringify(thisProcess())}\n`;
    for (let attempt = 0; attempt < attempts; attempt++) {
      if (await writeNew(file, text)) return new RunLock(file, text);
      const found = await readLock(file);
      if (found === undefined) continue; // given back meanwhile
      if (isHeld(found)) throw busy(directory, found);
      await removeStale(file, found.text);
    }

    throw new StateError(
      'ERR_COTS_BUSY',
      `Expected ${file} to be free, other processes took it ${attempts} times. Start one run a folder.`,
    );
  }

  /** Gives the folder back. A second call does nothing. */
  release(): void {
    clearInterval(this.#timer);
    try {
      if (readFileSync(this.#file, 'utf8') === this.#text) rmSync(this.#file, { force: true });
    } catch {
      // It is gone, or its folder is: nothing is held.
    }
  }
}

function thisProcess(): Holder {
  return {
    pid: process.pid,
    host: hostname(),
    machine: machineName(),
    start: startOf(process.pid) ?? '',
    since: new Date().toISOString(),
  };
}

function machineName(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return hostname(); // not Linux
  }
}

/** When a process began; undefined when there is none of that id, or one that has ended and waits for its parent. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // proc(5): from field 3 on
    return state === 'Z' ? undefined : fields[18];
  } catch {
    return undefined;
  }
}

function isHeld({ holder, silentMs }: FoundLock): boolean {
  if (holder === undefined || holder.machine !== machineName()) return silentMs < silentSeconds * 1000;
  if (holder.start !== '') return startOf(holder.pid) === holder.start;
  try {
    process.kill(holder.pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function busy(directory: string, { holder, silentMs }: FoundLock): StateError {
  const who = holder === undefined ? 'another process' : `process ${holder.pid} on ${holder.host}`;
  const since = holder === undefined ? '' : ` since ${holder.since}`;
  const seconds = Math.max(0, Math.round(silentMs / 1000));
  const elsewhere =
    holder?.machine === machineName()
      ? ''
      : ` Its last sign of life is ${seconds} s old: after ${silentSeconds} s the folder is free.`;
  return new StateError(
    'ERR_COTS_BUSY',
    `Expected \`train.out\` to be a folder that no other run writes, got ${directory}, which ${who} has${since}.${elsewhere} Let it end, or set train.out to another folder.`,
  );
}

async function writeNew(file: string, text: string): Promise<boolean> {
  try {
    await writeFile(file, text, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw fileError(error, 'write', file);
  }
}

async function readLock(file: string): Promise<FoundLock | undefined> {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(file, 'utf8'), stat(file)]);
    return { text, holder: holderOf(text), silentMs: Date.now() - mtimeMs };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw fileError(error, 'read', file);
  }
}

function holderOf(text: string): Holder | undefined {
  try {
    const holder = JSON.parse(text) as Partial<Holder> | null;
    return typeof holder?.pid === 'number' && typeof holder.machine === 'string'
      ? (holder as Holder)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Of several that find the same stale lock one moves it away; one that moved a newer lock puts it back. */
async function removeStale(file: string, stale: string): Promise<void> {
  const aside = path.join(
    path.dirname(file),
    `${unfinishedMark}${lockFile}-${randomBytes(4).toString('hex')}`,
  );
  try {
    await rename(file, aside);
    if ((await readFile(aside, 'utf8')) === stale) await rm(aside, { force: true });
    else await rename(aside, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fileError(error, 'take over', file);
  }
}
