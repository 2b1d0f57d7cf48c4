/**
 * One run a folder: RUN/run.lock names the process that writes there. A process of this machine is known by its id and start,
 * one of another machine or container by the file's time, which its holder renews; a lock whose holder is gone is taken over.
 * Of a run of several ranks only the one that writes the folder takes it.
 */
import { readFileSync, readlinkSync, rmSync } from 'node:fs';
import { readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { StateError } from '../errors.js';
import { fileError } from '../read-file.js';
import { makeDirectory, unfinishedMark } from '../write-file.js';

const lockFile = 'run.lock';
const renewSeconds = 10;
/** Without a sign of life for so long, a holder that cannot be looked at counts as gone. */
const silentSeconds = 60;
const attempts = 5;
const guardWaitMs = 50;

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
      await removeStale(file);
    }

    throw new StateError(
      'ERR_COTS_BUSY',
      `Expected ${file} to be free, got other processes that take it over, ${attempts} times. Start one run a folder; ${guardOf(file)}, where one was killed, is removed after ${silentSeconds} s.`,
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

/**
 * Removes a lock whose holder is gone. Between a look at a lock and its removal another process can do the same and take a new one, so
 * that both are done by one process at a time, the one that made the guard file; the others wait for it and look again.
 */
async function removeStale(file: string): Promise<void> {
  const guard = guardOf(file);
  if (!(await writeNew(guard, ''))) return waitForGuard(guard);
  try {
    const found = await readLock(file);
    if (found !== undefined && !isHeld(found)) await rm(file, { force: true });
  } catch (error) {
    throw fileError(error, 'take over', file);
  } finally {
    await rm(guard, { force: true });
  }
}

function guardOf(file: string): string {
  return path.join(path.dirname(file), `${unfinishedMark}${lockFile}`);
}

/** A guard is there for milliseconds: one that is old was left by a process that was killed under it, and is removed. */
async function waitForGuard(guard: string): Promise<void> {
  await wait(guardWaitMs);
  const found = await readLock(guard);
  if (found !== undefined && found.silentMs > silentSeconds * 1000) await rm(guard, { force: true });
}
