/** A file behind a URL: its size and version, a part of it, all of it, and a copy in the cache folder. */
import { createHash } from 'node:crypto';
import path from 'node:path';
import { cacheFolder } from '../cache-folder.js';
import { DataError } from '../errors.js';
import { exists } from '../read-file.js';
import { makeDirectory, writeFileAtomic } from '../write-file.js';
import { baseNameOf, nameOf } from './location.js';
import { type RemoteAnswer, request } from './request.js';

export interface RemoteState {
  readonly bytes: number;
  /** ETag, else the time of change, else the size: another one is another file. */
  readonly version: string;
}

/** Size and version. A range is asked for, so that a server without ranges is noticed now. Throws `ERR_COTS_FILE`, `ERR_COTS_DATA`. */
export async function remoteState(location: string): Promise<RemoteState> {
  return stateOf(await request(location, { range: [0, 1] }), location);
}

/** Bytes of a file that must still be of that version. Throws `ERR_COTS_DATA` for another one, `ERR_COTS_FILE`. */
export async function readRemoteRange(
  location: string,
  [begin, length]: readonly [begin: number, length: number],
  state: RemoteState,
): Promise<Buffer> {
  const wanted = Math.min(length, state.bytes - begin);
  if (wanted <= 0) return Buffer.alloc(0);
  const answer = await request(location, { range: [begin, wanted] });
  const now = stateOf(answer, location);
  if (now.version === state.version && now.bytes === state.bytes) return answer.bytes;
  throw new DataError(
    `Expected ${nameOf(location)} to stay as it was when its index was made (${state.version}), got another version (${now.version}). Run again when it does not change any more.`,
  );
}

/** All bytes. Throws `ERR_COTS_FILE`. */
export async function readRemote(location: string): Promise<Buffer> {
  return (await request(location)).bytes;
}

/** The path of a copy of the file as it is now, made once a version. Throws `ERR_COTS_FILE`. */
export async function localCopy(location: string): Promise<string> {
  const answer = await request(location);
  const version = versionOf(answer.headers) ?? createHash('sha256').update(answer.bytes).digest('hex');
  return cachedFile(keyOf(location, version), baseNameOf(location), async () => answer.bytes);
}

/** The path of a file in the cache folder under a key, with the last part of `name` as its own; `read` fills it once. */
export async function cachedFile(key: string, name: string, read: () => Promise<Buffer>): Promise<string> {
  const file = path.join(cacheFolder(), 'remote', keyOf(key), path.posix.basename(name));
  if (!(await exists(file))) {
    await makeDirectory(path.dirname(file));
    await writeFileAtomic(file, await read());
  }

  return file;
}

/** A name in the cache for what was made of a location. */
export function keyOf(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
}

function stateOf({ headers, total }: RemoteAnswer, location: string): RemoteState {
  if (total === null)
    throw new DataError(
      `Expected the server of ${nameOf(location)} to tell the size of the file (Content-Range: bytes 0-0/SIZE), got none. Download the file first.`,
    );
  return { bytes: total, version: versionOf(headers) ?? `${total} bytes` };
}

function versionOf(headers: Headers): string | null {
  return headers.get('etag') ?? headers.get('last-modified');
}
