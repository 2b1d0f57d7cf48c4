/**
 * The samples of a WebDataset shard and where their bytes are (ECOSYSTEM 3.2). A sample is the files of equal path up to the
 * first dot of their last part, next to each other. The index is made once and kept beside the shard as `NAME.tar.idx.json`;
 * in the cache folder for a shard behind a URL, in a folder that may not be written, or read by other names than the usual.
 */
import path from 'node:path';
import { cacheFolder } from '../../cache-folder.js';
import { fileError, readText } from '../../read-file.js';
import { isRemote, nameOf } from '../../remote/location.js';
import { keyOf } from '../../remote/remote-file.js';
import { makeDirectory, writeFileAtomic } from '../../write-file.js';
import { type ByteSource, openBytes } from './byte-source.js';
import {
  captionsOf,
  checkText,
  mediaOf,
  noMedia,
  type SampleFields,
  splitMemberName,
} from './sample-fields.js';
import { readTarMember, type TarMember, tarMembers } from './tar-members.js';

/** A sample of a shard. */
export interface ShardSample {
  readonly key: string;
  readonly media: TarMember;
  readonly kind: 'image' | 'video';
  readonly captions: readonly string[];
}

/** What an index file holds. */
export interface ShardIndex {
  readonly format: 'cots-shard-index';
  readonly version: 2;
  /** Of the shard when it was read: another size or version makes the index void. */
  readonly bytes: number;
  readonly stamp: string;
  /** Endings of its files. */
  readonly endings: readonly string[];
  /** The file inside which the shard ends; null for a whole one. A sample whose text is cut is left out. */
  readonly cut: string | null;
  readonly samples: readonly ShardSample[];
}

/** Indexes in use, by shard and by what names its parts. */
const loaded = new Map<string, Map<string, Promise<ShardIndex>>>();

/** The index of a shard. Throws `ERR_COTS_DATA`, `ERR_COTS_FILE`. */
export function shardIndex(location: string, fields: SampleFields = {}): Promise<ShardIndex> {
  const file = isRemote(location) ? location : path.resolve(location);
  const indexes = loaded.get(file) ?? new Map<string, Promise<ShardIndex>>();
  loaded.set(file, indexes);
  const key = fieldsKey(fields);
  const known = indexes.get(key);
  if (known !== undefined) return known;
  const made = withBytes(file, (source) => loadOrMake(source, file, fields));
  indexes.set(key, made);
  made.catch(() => indexes.delete(key));
  return made;
}

/** The indexes of a shard that this process has read. */
export function loadedIndexes(location: string): Promise<ShardIndex>[] {
  return [...(loaded.get(isRemote(location) ? location : path.resolve(location))?.values() ?? [])];
}

/** Opens a shard for `use`; failures of the file system are told with its name. */
export async function withBytes<T>(location: string, use: (source: ByteSource) => Promise<T>): Promise<T> {
  let source: ByteSource | undefined;
  try {
    source = await openBytes(location);
    return await use(source);
  } catch (error) {
    throw fileError(error, 'read a shard at', nameOf(location));
  } finally {
    await source?.close();
  }
}

async function loadOrMake(source: ByteSource, file: string, fields: SampleFields): Promise<ShardIndex> {
  const { bytes, version: stamp } = source;
  const places = indexFiles(file, fields);
  for (const place of places) {
    const kept = await readIndex(place);
    if (kept?.bytes === bytes && kept.stamp === stamp) return kept;
  }

  const made = await scan(source, file, fields);
  const index: ShardIndex = { format: 'cots-shard-index', version: 2, bytes, stamp, ...made };
  for (const place of places) if (await writeIndex(place, index)) break;
  return index;
}

/** Where an index may be, the best place first. */
function indexFiles(file: string, fields: SampleFields): string[] {
  const key = fieldsKey(fields);
  const cached = path.join(cacheFolder(), 'shard-index', `${keyOf(file, key)}.json`);
  return isRemote(file) || key !== fieldsKey({}) ? [cached] : [`${file}.idx.json`, cached];
}

function fieldsKey({ image, video, caption }: SampleFields): string {
  return JSON.stringify([image, video, caption]);
}

async function readIndex(place: string): Promise<ShardIndex | undefined> {
  try {
    const index = JSON.parse(await readText(place)) as ShardIndex;
    return index.format === 'cots-shard-index' && index.version === 2 ? index : undefined;
  } catch {
    return undefined;
  }
}

/** Whether it could be written; a place that cannot be only costs the next opening its time. */
async function writeIndex(place: string, index: ShardIndex): Promise<boolean> {
  try {
    if (place.startsWith(cacheFolder())) await makeDirectory(path.dirname(place));
    await writeFileAtomic(place, `${JSON.stringify(index)}\n`);
    return true;
  } catch {
    return false;
  }
}

async function scan(
  source: ByteSource,
  file: string,
  fields: SampleFields,
): Promise<Pick<ShardIndex, 'endings' | 'cut' | 'samples'>> {
  const samples: ShardSample[] = [];
  const endings = new Set<string>();
  let files = new Map<string, TarMember>();
  let key: string | undefined;
  let cut: string | null = null;
  const end = async (): Promise<void> => {
    const found = mediaOf(files, fields);
    const captions = found && (await sampleCaptions(source, file, files, fields));
    if (key !== undefined && found !== undefined && captions !== undefined)
      samples.push({ key, ...found, captions });
    files = new Map();
  };
  for await (const member of tarMembers(source, file)) {
    const [stem, ending] = splitMemberName(member.name);
    if (member.offset + member.size > source.bytes) cut = member.name;
    endings.add(ending);
    // A file that comes twice begins another sample of that key, which is then told as a duplicate.
    if (stem !== key || files.has(ending)) await end();
    key = stem;
    files.set(ending, member);
  }

  await end();
  if (samples.length === 0) throw noMedia(file, endings, fields);
  return { endings: [...endings], cut, samples };
}

/** Undefined where the shard ends inside a text. */
async function sampleCaptions(
  source: ByteSource,
  file: string,
  files: ReadonlyMap<string, TarMember>,
  fields: SampleFields,
): Promise<string[] | undefined> {
  let isWhole = true;
  const captions = await captionsOf(files, fields, async (member) => {
    checkText(member, file);
    const bytes = await readTarMember((position, length) => source.read(position, length), member, file);
    if (bytes.length === member.size) return bytes.toString('utf8');
    isWhole = false;
    return '{}';
  });
  return isWhole ? captions : undefined;
}
