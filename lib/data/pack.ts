/**
 * A data set as WebDataset shards that other tools read too: `000000.tar`, ... with `KEY.jpg`, `KEY.txt` (a caption a line) and
 * `KEY.json` an item, and `pack.json` with what is in each. A shard appears whole; a run that was stopped goes on with the next.
 */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import sharp from 'sharp';
import { type Pack, pack } from 'tar-stream';
import { CotsError, DataError } from '../errors.js';
import { exists, hashFile, readJson } from '../read-file.js';
import {
  makeDirectory,
  refuseForeign,
  removeUnfinished,
  replaceFile,
  writeFileAtomic,
} from '../write-file.js';
import { decodeImage } from './decode.js';
import type { ManifestEntry } from './manifest.js';
import { readMedia } from './media.js';

export interface PackOptions {
  readonly out: string;
  /** Items of a shard. */
  readonly itemsPerShard: number;
  /** Shorter side in pixels that larger images are brought to, as JPEG of quality 95; null: the files as they are. */
  readonly side: number | null;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number) => void) | undefined;
}

/** One shard of `pack.json`. */
export interface PackedShard {
  readonly file: string;
  readonly items: number;
  readonly bytes: number;
  readonly sha256: string;
  /** Items that could not be read and are left out. */
  readonly errors: readonly { readonly id: string; readonly code: string; readonly message: string }[];
}

interface PackIndex {
  readonly format: 'cots-pack';
  readonly version: 1;
  /** Of ids, captions, locations and options: a run goes on with the same alone. */
  readonly inputHash: string;
  readonly shards: readonly PackedShard[];
}

export interface PackSummary {
  readonly shards: readonly PackedShard[];
  /** Shards that an earlier run had written. */
  readonly skippedShards: number;
}

const indexName = 'pack.json';
/** Images read at the same time. */
const readAhead = 16;
const quality = 95;

/** Throws `ERR_COTS_DATA` for a folder of other things or of another input, `ERR_COTS_FILE`, and `signal.reason`. */
export async function packDataset(
  entries: readonly ManifestEntry[],
  options: PackOptions,
): Promise<PackSummary> {
  const { out, itemsPerShard, signal, onProgress } = options;
  const inputHash = hashOf(entries, options);
  const before = await earlierShards(out, inputHash);
  await makeDirectory(out);
  await removeUnfinished(out);
  const count = Math.ceil(entries.length / itemsPerShard);
  const shards: PackedShard[] = [];
  let skippedShards = 0;
  for (let index = 0; index < count; index++) {
    signal?.throwIfAborted();
    const file = `${String(index).padStart(Math.max(6, String(count - 1).length), '0')}.tar`;
    const begin = index * itemsPerShard;
    const part = entries.slice(begin, begin + itemsPerShard);
    const known = before.find((shard) => shard.file === file);
    if (known !== undefined && (await isWhole(out, known))) {
      shards.push(known);
      skippedShards++;
    } else {
      shards.push(await writeShard(path.join(out, file), part, begin, options));
      await writeIndex(out, { format: 'cots-pack', version: 1, inputHash, shards });
    }

    onProgress?.(begin + part.length);
  }

  return { shards, skippedShards };
}

function hashOf(entries: readonly ManifestEntry[], { itemsPerShard, side }: PackOptions): string {
  const hash = createHash('sha256').update(JSON.stringify([itemsPerShard, side]));
  for (const { id, image, video, captions, split } of entries)
    hash.update(`${JSON.stringify([id, image ?? video, captions, split])}\n`);
  return hash.digest('hex');
}

async function earlierShards(out: string, inputHash: string): Promise<readonly PackedShard[]> {
  await refuseForeign(out, 'packed shards', indexName);
  const file = path.join(out, indexName);
  if (!(await exists(file))) return [];
  const index = (await readJson(file, 'ERR_COTS_DATA')) as PackIndex;
  if (index?.format === 'cots-pack' && index.version === 1 && index.inputHash === inputHash)
    return index.shards;
  throw new DataError(
    `Expected ${out} to be empty or to hold shards of the same input and options, got those of others. Use another --out.`,
  );
}

/** A shard of an earlier run is taken at its checksum's word. */
async function isWhole(out: string, { file, sha256 }: PackedShard): Promise<boolean> {
  const place = path.join(out, file);
  return (await exists(place)) && (await hashFile(place)) === sha256;
}

async function writeIndex(out: string, index: PackIndex): Promise<void> {
  await writeFileAtomic(path.join(out, indexName), `${JSON.stringify(index, null, 1)}\n`);
}

async function writeShard(
  file: string,
  part: readonly ManifestEntry[],
  begin: number,
  { side, signal }: PackOptions,
): Promise<PackedShard> {
  const errors: PackedShard['errors'][number][] = [];
  const hash = createHash('sha256');
  let bytes = 0;
  async function* measured(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      hash.update(chunk);
      bytes += chunk.length;
      yield chunk;
    }
  }

  await replaceFile(file, async (temporary) => {
    const tar = pack();
    const written = pipeline(tar as AsyncIterable<Buffer>, measured, createWriteStream(temporary));
    written.catch(() => {});
    for (let from = 0; from < part.length; from += readAhead) {
      signal?.throwIfAborted();
      const some = part.slice(from, from + readAhead);
      const media = await Promise.all(some.map((entry) => mediaOf(entry, side)));
      for (const [index, found] of media.entries()) {
        const entry = some[index] as ManifestEntry;
        if (found instanceof CotsError)
          errors.push({ id: entry.id, code: found.code, message: found.message });
        else await addItem(tar, String(begin + from + index).padStart(9, '0'), entry, found);
      }
    }

    tar.finalize();
    await written;
  });
  return {
    file: path.basename(file),
    items: part.length - errors.length,
    bytes,
    sha256: hash.digest('hex'),
    errors,
  };
}

interface Media {
  readonly bytes: Buffer;
  /** Without its dot. */
  readonly ending: string;
}

/** The file as it is, or made smaller; what is wrong with it instead. */
async function mediaOf({ image, video }: ManifestEntry, side: number | null): Promise<Media | CotsError> {
  const location = (image ?? video) as string;
  try {
    if (side !== null && image !== undefined) return { bytes: await smaller(image, side), ending: 'jpg' };
    const ending = path.extname(location).slice(1).toLowerCase();
    return { bytes: await readMedia(location, image === undefined ? 'a video' : 'an image'), ending };
  } catch (error) {
    if (error instanceof CotsError) return error;
    throw error;
  }
}

async function smaller(image: string, side: number): Promise<Buffer> {
  const { data, width, height } = await decodeImage(image);
  return sharp(data, { raw: { width, height, channels: 3 } })
    .resize({ width: side, height: side, fit: 'outside', withoutEnlargement: true })
    .jpeg({ quality })
    .toBuffer();
}

/** The names and order are WebDataset's; times and owners are constant, so that the same input gives the same bytes. */
async function addItem(
  tar: Pack,
  key: string,
  entry: ManifestEntry,
  { bytes, ending }: Media,
): Promise<void> {
  const { image: _, video: __, ...fields } = entry;
  await addFile(tar, `${key}.${ending}`, bytes);
  await addFile(tar, `${key}.txt`, Buffer.from(entry.captions.map(oneLine).join('\n')));
  await addFile(tar, `${key}.json`, Buffer.from(JSON.stringify({ key, ...fields })));
}

function oneLine(caption: string): string {
  return caption.replaceAll(/\s*[\r\n]+\s*/g, ' ');
}

function addFile(tar: Pack, name: string, content: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const header = { name, size: content.length, mtime: new Date(0), mode: 0o644 };
    const entry = tar.entry(header, content, (error) => (error == null ? resolve() : reject(error)));
    entry.on('error', reject);
  });
}
