// One set-up at a time in one package folder. The lock is a file that its holder touches every second: it is
// taken over when the holder is gone or has been silent for a minute (a process id alone may be used again).

import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const kSilentMs = 60_000;

/** Runs `work` alone. `waiting` is called once, with the holder's process id, when another one is at work. */
export async function withLock(file, waiting, work) {
  mkdirSync(dirname(file), { recursive: true });
  for (let told = false; !tryLock(file); told = true) {
    const holder = readHolder(file);
    if (isStale(file, holder)) {
      takeAway(file);
      continue;
    }
    if (!told) waiting(holder);
    await sleep(300);
  }
  const beat = setInterval(() => touch(file), 1000);
  const release = () => rmSync(file, { force: true });
  process.once('exit', release);
  try {
    return await work();
  } finally {
    clearInterval(beat);
    process.removeListener('exit', release);
    release();
  }
}

function tryLock(file) {
  try {
    const handle = openSync(file, 'wx');
    writeSync(handle, String(process.pid));
    closeSync(handle);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

function readHolder(file) {
  try {
    return Number(readFileSync(file, 'utf8')) || undefined;
  } catch {
    return undefined;
  }
}

function isStale(file, holder) {
  try {
    if (Date.now() - statSync(file).mtimeMs > kSilentMs) return true;
  } catch {
    return false; // released meanwhile: just try again
  }
  return holder !== undefined && !isAlive(holder);
}

export function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Renames before removing: of two processes that both saw a stale lock, only one removes it. */
function takeAway(file) {
  const aside = `${file}.stale-${process.pid}`;
  try {
    renameSync(file, aside);
    rmSync(aside, { force: true });
  } catch {
    // the other process was first
  }
}

function touch(file) {
  try {
    const now = new Date();
    utimesSync(file, now, now);
  } catch {
    // the folder was removed under us: nothing to keep alive
  }
}
