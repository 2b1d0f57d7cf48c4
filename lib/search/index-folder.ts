/**
 * A search index: `vectors.bin` (row-major float32 or float16), `ids.jsonl` (a line a row), `manifest.json`; of videos also
 * `frames.bin`, the rows of their frames (float32), in the order of the `frame_index` lists of ids.jsonl.
 */
import { createWriteStream } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { DataError } from '../errors.js';
import { fileError, kindOf, readJson } from '../read-file.js';
import { refuseForeign, replaceFolder } from '../write-file.js';
import type { ModelMark } from './embeddings.js';
import { FrameRows } from './frame-rows.js';
import { Gallery } from './gallery.js';
import { readIds, writeIds } from './index-ids.js';
import type { Entry } from './metadata.js';
import { bytesOf, floatToHalf, readNpy } from './npy.js';
import { countFrames, type Modality } from './partitions.js';
import { isEmbeddings, openEmbeddings } from './read-embeddings.js';

export interface IndexManifest {
  readonly format: 'cots-index';
  readonly version: 1;
  readonly model: ModelMark;
  readonly modality: Modality;
  readonly rows: number;
  readonly dimension: number;
  readonly dtype: 'float32' | 'float16';
  /** Of videos: rows of frames.bin. */
  readonly frames?: number;
  readonly created: string;
}

/** Vectors with what their rows are about. Free it with `vectors.dispose()`. */
export interface LoadedIndex {
  readonly model: ModelMark;
  readonly modality: Modality;
  readonly vectors: Gallery;
  readonly entries: readonly Entry[];
  /** Of videos. */
  readonly frames?: FrameRows;
}

export interface BuildIndexOptions {
  /** @default the only one present, else images */
  readonly modality?: Modality | undefined;
  /** float16 halves the file and the time of a search; scores change by up to about 5e-4. @default 'float32' */
  readonly dtype?: 'float32' | 'float16';
}

/**
 * Makes an index of a folder of embeddings, a partition in memory at a time; an index at `out` is replaced, anything else there is
 * refused.
 */
export async function buildIndex(
  embeddings: string,
  out: string,
  { modality, dtype = 'float32' }: BuildIndexOptions = {},
): Promise<IndexManifest> {
  const found = await openEmbeddings(embeddings, modality);
  await refuseForeign(out, 'an index', 'vectors.bin');
  const manifest: IndexManifest = {
    format: 'cots-index',
    version: 1,
    model: found.manifest.model,
    modality: found.modality,
    rows: found.entries.length,
    dimension: found.manifest.dimension,
    dtype,
    ...(found.modality === 'video' ? { frames: countFrames(found.entries) } : {}),
    created: new Date().toISOString(),
  };
  await replaceFolder(out, async (folder) => {
    const vectorFiles = found.files.map(({ file }) => file);
    await pipeline(rowBytes(vectorFiles, dtype), createWriteStream(path.join(folder, 'vectors.bin')));
    if (found.modality === 'video')
      await pipeline(
        rowBytes(found.frameFiles, 'float32'),
        createWriteStream(path.join(folder, 'frames.bin')),
      );
    await writeIds(path.join(folder, 'ids.jsonl'), found.entries);
    await writeFile(path.join(folder, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  });
  return manifest;
}

/** The rows of all partitions, one in memory at a time. */
async function* rowBytes(
  files: readonly string[],
  dtype: IndexManifest['dtype'],
): AsyncGenerator<Uint8Array> {
  for (const file of files) {
    const { data } = await readNpy(file);
    yield dtype === 'float32' ? bytesOf(data) : bytesOf(Uint16Array.from(data, floatToHalf));
  }
}

/** Loads an index folder or a folder of embeddings. */
export async function loadIndex(directory: string): Promise<LoadedIndex> {
  if (await isEmbeddings(directory)) {
    const { manifest, modality, files, entries, frameFiles } = await openEmbeddings(directory);
    const { model, dimension } = manifest;
    const vectors = await Gallery.open(files, dimension);
    if (modality !== 'video') return { model, modality, vectors, entries };
    return {
      model,
      modality,
      vectors,
      entries,
      frames: await FrameRows.ofNpy(frameFiles, entries, dimension),
    };
  }

  const file = path.join(directory, 'manifest.json');
  if ((await kindOf(file)) !== 'file') {
    throw new DataError(
      `Expected ${directory} to be an index or a folder of embeddings, found no manifest.json. Make one with \`cots index\` or \`cots embed\`.`,
    );
  }

  const manifest = (await readJson(file, 'ERR_COTS_DATA')) as IndexManifest;
  if (manifest?.format !== 'cots-index' || manifest.version !== 1) {
    throw new DataError(
      `Expected ${file} to be of format cots-index 1, got ${manifest?.format} ${manifest?.version}. Make it again with \`cots index\`.`,
    );
  }

  if (typeof manifest.model?.path !== 'string' || typeof manifest.model.hash !== 'string')
    throw new DataError(
      `Expected ${file} to name the \`model\` with its path and hash, got none. Make it again with \`cots index\`.`,
    );
  return readIndex(directory, manifest);
}

async function readIndex(directory: string, manifest: IndexManifest): Promise<LoadedIndex> {
  const { rows, dimension, dtype, model, modality } = manifest;
  const vectorsFile = path.join(directory, 'vectors.bin');
  await checkSize(vectorsFile, rows * dimension * (dtype === 'float32' ? 4 : 2));
  const entries = await readIds(path.join(directory, 'ids.jsonl'));
  if (entries.length !== rows)
    throw new DataError(
      `Expected ids.jsonl in ${directory} to have ${rows} lines, got ${entries.length}. Make the index again.`,
    );
  const vectors = await Gallery.open([{ file: vectorsFile, offset: 0, rows, dtype }], dimension);
  const loaded = { model, modality, vectors, entries };
  if (modality !== 'video') return loaded;
  const framesFile = path.join(directory, 'frames.bin');
  await checkSize(framesFile, (manifest.frames ?? 0) * dimension * 4);
  return { ...loaded, frames: FrameRows.ofRaw(framesFile, manifest.frames ?? 0, entries, dimension) };
}

async function checkSize(file: string, want: number): Promise<void> {
  const size = await stat(file).then(
    (found) => found.size,
    (error) => Promise.reject(fileError(error, 'read', file)),
  );
  if (size === want) return;
  throw new DataError(
    `Expected ${file} to have ${want} bytes as its manifest says, got ${size}. Make the index again.`,
  );
}
