/** The bytes of an image or clip by its location: a path, or `SHARD.tar!MEMBER` for one inside a WebDataset shard. */
import { readBytes } from '../read-file.js';
import { readShardMember } from './shards/shard-index.js';

const mark = '.tar!';

/** The location of a shard's member, as a manifest's `image` or `video` has it. */
export function memberLocation(shard: string, member: string): string {
  return `${shard}!${member}`;
}

/** Reads a location. `what` names it in messages, such as `an image`. Throws `ERR_COTS_FILE`, `ERR_COTS_DATA`. */
export async function readMedia(location: string, what: string): Promise<Buffer> {
  const at = location.indexOf(mark);
  if (at === -1) return readBytes(location, what);
  const shard = location.slice(0, at + mark.length - 1);
  return readShardMember(shard, location.slice(at + mark.length));
}
