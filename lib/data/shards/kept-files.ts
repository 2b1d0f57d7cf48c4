/** Shards that are read again and again stay open: of a sample's reading, opening and closing were half of the calls. */
import { stat } from 'node:fs/promises';
import { type ByteSource, openBytes } from './byte-source.js';

/** Files open at a time besides those being read. */
const most = 64;
/** A file that nobody reads for so long is closed, so that one that was deleted frees its disk. */
const idleMilliseconds = 5000;

interface Kept {
  readonly source: Promise<ByteSource>;
  /** What tells this file from another one of the path, and from itself when it has changed. */
  readonly identity: string;
  readers: number;
  isDropped: boolean;
  idle: NodeJS.Timeout | undefined;
}

/** By path, the one read last at the end. */
const kept = new Map<string, Kept>();

/** Hands the bytes of a file to `use`; a file that was replaced or has changed is opened again. Throws what the file system throws. */
export async function withKeptFile<T>(file: string, use: (source: ByteSource) => Promise<T>): Promise<T> {
  const one = await current(file);
  one.readers++;
  clearTimeout(one.idle);
  try {
    return await use(await one.source);
  } catch (error) {
    drop(file, one);
    throw error;
  } finally {
    one.readers--;
    if (one.readers === 0) rest(file, one);
  }
}

async function current(file: string): Promise<Kept> {
  const { dev, ino, size, mtimeMs, ctimeMs } = await stat(file);
  const identity = [dev, ino, size, mtimeMs, ctimeMs].join();
  let one = kept.get(file);
  if (one !== undefined && one.identity !== identity) drop(file, one);
  if (one === undefined || one.isDropped)
    one = { source: openBytes(file), identity, readers: 0, isDropped: false, idle: undefined };
  kept.delete(file);
  kept.set(file, one);
  for (const [other, old] of kept) {
    if (kept.size <= most) break;
    drop(other, old);
  }

  return one;
}

/** Closes it as soon as nobody reads it. */
function drop(file: string, one: Kept): void {
  if (kept.get(file) === one) kept.delete(file);
  if (one.isDropped) return;
  one.isDropped = true;
  if (one.readers === 0) close(one);
}

function rest(file: string, one: Kept): void {
  if (one.isDropped) close(one);
  else one.idle = setTimeout(() => drop(file, one), idleMilliseconds).unref();
}

function close(one: Kept): void {
  clearTimeout(one.idle);
  one.source.then((source) => source.close()).catch(() => {});
}
