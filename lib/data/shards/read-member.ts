/** One file of a shard by its name, without reading the others. */
import { DataError } from '../../errors.js';
import { fileError } from '../../read-file.js';
import { isRemote, nameOf } from '../../remote/location.js';
import { readRemoteRange } from '../../remote/remote-file.js';
import type { Allocate, ByteSource } from './byte-source.js';
import { withKeptFile } from './kept-files.js';
import { loadedIndexes, type ShardIndex, shardIndex, withBytes } from './shard-index.js';
import { readTarMember, type TarMember, tarMembers } from './tar-members.js';

/** The bytes of a sample's picture or clip; fewer where the shard is cut. `allocate` may give memory for those of a file. Throws `ERR_COTS_DATA`, `ERR_COTS_FILE`. */
export async function readShardMember(file: string, name: string, allocate?: Allocate): Promise<Buffer> {
  const { member, index } = await findMember(file, name);
  if (isRemote(file)) {
    const state = { bytes: index.bytes, version: index.stamp };
    return readTarMember((at, length) => readRemoteRange(file, [at, length], state), member, nameOf(file));
  }

  try {
    return await withKeptFile(file, (source) =>
      readTarMember((at, length) => source.read(at, length, allocate), member, file),
    );
  } catch (error) {
    throw fileError(error, 'read a shard at', file);
  }
}

/** Where the bytes of a sample's picture or clip are. Throws `ERR_COTS_DATA`, `ERR_COTS_FILE`. */
export async function findShardMember(file: string, name: string): Promise<TarMember> {
  return (await findMember(file, name)).member;
}

async function findMember(file: string, name: string): Promise<{ member: TarMember; index: Index }> {
  const used = loadedIndexes(file);
  for (const one of used.length > 0 ? used : [shardIndex(file)]) {
    const index = await one.catch(() => undefined); // told by the listing below
    const member = index === undefined ? undefined : memberOf(index, name);
    if (index !== undefined && member !== undefined) return { member, index };
  }

  const index = await listing(file);
  const member = memberOf(index, name);
  if (member !== undefined) return { member, index };
  throw new DataError(
    `Expected ${nameOf(file)} to hold ${name}, it does not. Make the manifest of it again.`,
  );
}

type Index = Pick<ShardIndex, 'bytes' | 'stamp'> & { readonly samples: readonly { media: TarMember }[] };

const byName = new WeakMap<object, Map<string, TarMember>>();

function memberOf({ samples }: Index, name: string): TarMember | undefined {
  let names = byName.get(samples);
  if (names === undefined) {
    names = new Map(samples.map(({ media }) => [media.name, media]));
    byName.set(samples, names);
  }

  return names.get(name);
}

/** All files of shards that a manifest names by other endings than the usual. */
const listings = new Map<string, Promise<Index>>();

function listing(file: string): Promise<Index> {
  let made = listings.get(file);
  if (made === undefined) {
    made = withBytes(file, (source) => list(source, file));
    made.catch(() => listings.delete(file));
    listings.set(file, made);
  }

  return made;
}

async function list(source: ByteSource, file: string): Promise<Index> {
  const samples: { media: TarMember }[] = [];
  for await (const media of tarMembers(source, file)) samples.push({ media });
  return { bytes: source.bytes, stamp: source.version, samples };
}

/** Names of the pictures and clips of a shard. Throws `ERR_COTS_DATA`, `ERR_COTS_FILE`. */
export async function mediaNames(file: string): Promise<string[]> {
  return (await shardIndex(file)).samples.map(({ media }) => media.name);
}
