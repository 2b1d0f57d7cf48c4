/** The bytes of an image or clip by its location: a path or URL, or `SHARD.tar!MEMBER` for one inside a WebDataset shard. */
import path from 'node:path';
import { readRegularFile } from '../read-file.js';
import { isRemote, nameOf } from '../remote/location.js';
import { cachedFile, localCopy, readRemote } from '../remote/remote-file.js';
import type { Allocate } from './shards/byte-source.js';
import { findShardMember, readShardMember } from './shards/read-member.js';
import type { TarMember } from './shards/tar-members.js';

/** Of one picture or clip: more than any picture of `maxPixels` takes, less than a Buffer may. */
const mostBytes = 2 ** 30;

/** A URL may end in a query. */
const mark = /\.tar(?:\?[^!]*)?!/;

/** The location of a shard's member, as a manifest's `image` or `video` has it. */
export function memberLocation(shard: string, member: string): string {
  return [shard, member].join('!'); // a string of its own: one of two parts is copied when it is first read, and both are kept
}

/**
 * Reads a location. `what` names it in messages, such as `an image`; `allocate` may give the memory for what lies on this machine.
 * Throws `ERR_COTS_FILE`, `ERR_COTS_DATA`.
 */
export async function readMedia(location: string, what: string, allocate?: Allocate): Promise<Buffer> {
  const at = partsOf(location);
  if (at !== undefined) return readShardMember(at.shard, at.member, allocate);
  return isRemote(location) ? readRemote(location) : readRegularFile(location, what, mostBytes, allocate);
}

/** Where the bytes of a shard's member are; undefined for a plain path. Throws `ERR_COTS_FILE`, `ERR_COTS_DATA`. */
export async function shardMember(
  location: string,
): Promise<(TarMember & { readonly shard: string }) | undefined> {
  const at = partsOf(location);
  return at === undefined ? undefined : { ...(await findShardMember(at.shard, at.member)), shard: at.shard };
}

/** A location of this machine: the one given, or a copy in the cache folder of what is behind a URL. Throws as `readMedia`. */
export async function localMedia(location: string): Promise<string> {
  if (!isRemote(location)) return location;
  const at = partsOf(location);
  if (at === undefined) return localCopy(location);
  return cachedFile(location, at.member, () => readShardMember(at.shard, at.member));
}

/** The ending of an image or clip, without its dot, in small letters. */
export function endingOf(location: string): string {
  return path.extname(nameOf(location)).slice(1).toLowerCase();
}

function partsOf(location: string): { shard: string; member: string } | undefined {
  const found = mark.exec(location);
  if (found === null) return undefined;
  const end = found.index + found[0].length;
  return { shard: location.slice(0, end - 1), member: location.slice(end) };
}
