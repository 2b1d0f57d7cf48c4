/** The bytes of an image or clip by its location: a path, or `SHARD.tar!MEMBER` for one inside a WebDataset shard. */
import { readBytes } from '../read-file.js';
import { findShardMember, readShardMember } from './shards/shard-index.js';
import type { TarMember } from './shards/tar-members.js';

const mark = '.tar!';

/** The location of a shard's member, as a manifest's `image` or `video` has it. */
export function memberLocation(shard: string, member: string): string {
  return `${shard}!${member}`;
}

/** Reads a location. `what` names it in messages, such as `an image`. Throws `ERR_COTS_FILE`, `ERR_COTS_DATA`. */
export async function readMedia(location: string, what: string): Promise<Buffer> {
  const at = partsOf(location);
  return at === undefined ? readBytes(location, what) : readShardMember(at.shard, at.member);
}

/** Where the bytes of a shard's member are; undefined for a plain path. Throws `ERR_COTS_FILE`, `ERR_COTS_DATA`. */
export async function shardMember(
  location: string,
): Promise<(TarMember & { readonly shard: string }) | undefined> {
  const at = partsOf(location);
  return at === undefined ? undefined : { ...(await findShardMember(at.shard, at.member)), shard: at.shard };
}

function partsOf(location: string): { shard: string; member: string } | undefined {
  const at = location.indexOf(mark);
  if (at === -1) return undefined;
  return { shard: location.slice(0, at + mark.length - 1), member: location.slice(at + mark.length) };
}
