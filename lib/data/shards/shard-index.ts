/**
 * The samples of a WebDataset shard and where their bytes are (ECOSYSTEM 3.2). A sample is the files of equal path up to the
 * first dot of their last part, next to each other. The index is made once and kept beside the shard as `NAME.tar.idx.json`.
 */
import { type FileHandle, open } from 'node:fs/promises';
import path from 'node:path';
import { DataError } from '../../errors.js';
import { fileError, readText } from '../../read-file.js';
import { writeFileAtomic } from '../../write-file.js';
import { type TarMember, tarMembers } from './tar-members.js';

/** A sample of a shard. */
export interface ShardSample {
  readonly key: string;
  readonly media: TarMember;
  readonly kind: 'image' | 'video';
  readonly captions: readonly string[];
}

/** What `NAME.tar.idx.json` holds. */
interface ShardIndex {
  readonly format: 'cots-shard-index';
  readonly version: 1;
  /** Of the shard when it was read: another size or time makes the index void. */
  readonly bytes: number;
  readonly mtimeMs: number;
  readonly samples: readonly ShardSample[];
}

const kinds: Readonly<Record<string, ShardSample['kind']>> = {
  jpg: 'image',
  jpeg: 'image',
  png: 'image',
  webp: 'image',
  gif: 'image',
  mp4: 'video',
  webm: 'video',
  mkv: 'video',
};
/** A caption file of more bytes is no caption. */
const longestText = 1 << 20;

const loaded = new Map<string, Promise<ShardIndex>>();

/** The samples of a shard, from its index where one fits. Throws `ERR_COTS_DATA`, `ERR_COTS_FILE`. */
export async function shardSamples(file: string): Promise<readonly ShardSample[]> {
  return (await shardIndex(path.resolve(file))).samples;
}

/** The bytes of a sample's picture or clip, by the name of its member. Throws `ERR_COTS_DATA`, `ERR_COTS_FILE`. */
export async function readShardMember(file: string, name: string): Promise<Buffer> {
  const member = await findShardMember(file, name);
  return withFile(file, async (handle) => {
    const bytes = Buffer.alloc(member.size);
    const { bytesRead } = await handle.read(bytes, 0, member.size, member.offset);
    return bytes.subarray(0, bytesRead);
  });
}

/** Where the bytes of a sample's picture or clip are. Throws `ERR_COTS_DATA`, `ERR_COTS_FILE`. */
export async function findShardMember(file: string, name: string): Promise<TarMember> {
  const { samples } = await shardIndex(path.resolve(file));
  const member = memberOf(samples, name);
  if (member !== undefined) return member;
  throw new DataError(`Expected ${file} to hold ${name}, it does not. Make the manifest of it again.`);
}

const byName = new WeakMap<readonly ShardSample[], Map<string, TarMember>>();

function memberOf(samples: readonly ShardSample[], name: string): TarMember | undefined {
  let names = byName.get(samples);
  if (names === undefined) {
    names = new Map(samples.map(({ media }) => [media.name, media]));
    byName.set(samples, names);
  }

  return names.get(name);
}

function shardIndex(file: string): Promise<ShardIndex> {
  const known = loaded.get(file);
  if (known !== undefined) return known;
  const made = loadOrMake(file);
  loaded.set(file, made);
  made.catch(() => loaded.delete(file));
  return made;
}

async function loadOrMake(file: string): Promise<ShardIndex> {
  return withFile(file, async (handle) => {
    const { size: bytes, mtimeMs } = await handle.stat();
    const kept = await readIndex(`${file}.idx.json`);
    if (kept?.bytes === bytes && kept.mtimeMs === mtimeMs) return kept;
    const samples = await scan(handle, file);
    const index: ShardIndex = { format: 'cots-shard-index', version: 1, bytes, mtimeMs, samples };
    // A folder that may not be written only costs the next opening its time.
    await writeFileAtomic(`${file}.idx.json`, `${JSON.stringify(index)}\n`).catch(() => {});
    return index;
  });
}

async function readIndex(file: string): Promise<ShardIndex | undefined> {
  try {
    const index = JSON.parse(await readText(file)) as ShardIndex;
    return index.format === 'cots-shard-index' && index.version === 1 ? index : undefined;
  } catch {
    return undefined;
  }
}

async function scan(handle: FileHandle, file: string): Promise<ShardSample[]> {
  const samples: ShardSample[] = [];
  const seen = new Set<string>();
  let files = new Map<string, TarMember>();
  let key: string | undefined;
  const end = async (): Promise<void> => {
    if (key !== undefined) samples.push(...(await sampleOf(handle, file, key, files)));
    files = new Map();
  };
  for await (const member of tarMembers(handle, file)) {
    const [stem, ending] = splitName(member.name);
    seen.add(ending);
    if (stem !== key) await end();
    key = stem;
    files.set(ending, member);
  }

  await end();
  if (samples.length > 0) return samples;
  throw new DataError(
    `Expected ${file} to hold samples with ${Object.keys(kinds).join(', ')}, got ${seen.size === 0 ? 'no files' : `files of ${[...seen].join(', ')}`}. Give a shard of pictures or clips.`,
  );
}

/** WebDataset's rule: the ending begins at the first dot of the last part. */
function splitName(name: string): [stem: string, ending: string] {
  const base = name.slice(name.lastIndexOf('/') + 1);
  const dot = base.indexOf('.');
  if (dot === -1) return [name, ''];
  return [name.slice(0, name.length - base.length + dot), base.slice(dot + 1).toLowerCase()];
}

async function sampleOf(
  handle: FileHandle,
  file: string,
  key: string,
  files: ReadonlyMap<string, TarMember>,
): Promise<ShardSample[]> {
  for (const [ending, media] of files) {
    const kind = kinds[ending];
    if (kind === undefined) continue;
    return [{ key, media, kind, captions: await captionsOf(handle, file, files) }];
  }

  return [];
}

/** `captions` or `caption` of the JSON file where it has one, else the lines of the text file. */
async function captionsOf(
  handle: FileHandle,
  file: string,
  files: ReadonlyMap<string, TarMember>,
): Promise<string[]> {
  const json = files.get('json');
  if (json !== undefined) {
    const { captions, caption } = parseFields(await readMember(handle, file, json), file, json);
    const given = captions ?? (caption === undefined || caption === null ? undefined : [caption]);
    if (Array.isArray(given) && given.every((one) => typeof one === 'string')) return given;
  }

  const txt = files.get('txt');
  if (txt === undefined) return [];
  return (await readMember(handle, file, txt)).split(/\r?\n/).filter((line) => line.trim() !== '');
}

function parseFields(text: string, file: string, { name }: TarMember): Record<string, unknown> {
  try {
    return (JSON.parse(text) ?? {}) as Record<string, unknown>;
  } catch (error) {
    throw new DataError(
      `Expected ${name} of ${file} to be JSON, got: ${(error as Error).message}. Restore the file from its source.`,
      { cause: error },
    );
  }
}

async function readMember(handle: FileHandle, file: string, member: TarMember): Promise<string> {
  if (member.size > longestText)
    throw new DataError(
      `Expected ${member.name} of ${file} to be at most ${longestText} bytes of text, got ${member.size}. Restore the file from its source.`,
    );
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(member.size), 0, member.size, member.offset);
  return buffer.toString('utf8', 0, bytesRead);
}

async function withFile<T>(file: string, use: (handle: FileHandle) => Promise<T>): Promise<T> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, 'r');
    return await use(handle);
  } catch (error) {
    throw fileError(error, 'read a shard at', file);
  } finally {
    await handle?.close();
  }
}
