/** A search index: `vectors.bin` (row-major float32 or float16), `ids.jsonl` (a line a row), `manifest.json`. */
import { createWriteStream } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Matrix } from '../binding.js';
import { DataError } from '../errors.js';
import { fileError, kindOf, readJson } from '../read-file.js';
import { textLines } from '../text-lines.js';
import { refuseForeign, replaceFolder } from '../write-file.js';
import type { ModelMark } from './embeddings.js';
import { bytesOf, readFloats } from './npy.js';
import type { Entry, Modality } from './partitions.js';
import { isEmbeddings, readEmbeddings } from './read-embeddings.js';

export interface IndexManifest {
  readonly format: 'cots-index';
  readonly version: 1;
  readonly model: ModelMark;
  readonly modality: Modality;
  readonly rows: number;
  readonly dimension: number;
  readonly dtype: 'float32' | 'float16';
  readonly created: string;
}

/** Vectors in memory with what their rows are about. */
export interface LoadedIndex {
  readonly model: ModelMark;
  readonly modality: Modality;
  readonly vectors: Matrix;
  readonly entries: readonly Entry[];
}

/** Makes an index of a folder of embeddings; an index at `out` is replaced, anything else there is refused. */
export async function buildIndex(
  embeddings: string,
  out: string,
  modality?: Modality,
): Promise<IndexManifest> {
  const found = await readEmbeddings(embeddings, modality);
  await refuseForeign(out, 'an index', 'vectors.bin');
  const manifest: IndexManifest = {
    format: 'cots-index',
    version: 1,
    model: found.manifest.model,
    modality: found.modality,
    rows: found.vectors.shape[0],
    dimension: found.vectors.shape[1],
    dtype: 'float32',
    created: new Date().toISOString(),
  };
  await replaceFolder(out, async (folder) => {
    await writeFile(path.join(folder, 'vectors.bin'), bytesOf(found.vectors.data));
    await pipeline(lines(found.entries), createWriteStream(path.join(folder, 'ids.jsonl')));
    await writeFile(path.join(folder, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  });
  return manifest;
}

function* lines(entries: readonly Entry[]): Generator<string> {
  for (const { id, image, caption } of entries) {
    yield `${JSON.stringify({ id, ...(image === '' ? {} : { image }), ...(caption === '' ? {} : { caption }) })}\n`;
  }
}

/** Loads an index folder or a folder of embeddings. */
export async function loadIndex(directory: string): Promise<LoadedIndex> {
  if (await isEmbeddings(directory)) {
    const found = await readEmbeddings(directory);
    return {
      model: found.manifest.model,
      modality: found.modality,
      vectors: found.vectors,
      entries: found.entries,
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
  const want = rows * dimension * (dtype === 'float32' ? 4 : 2);
  const size = await stat(vectorsFile).then(
    (found) => found.size,
    (error) => Promise.reject(fileError(error, 'read', vectorsFile)),
  );
  if (size !== want)
    throw new DataError(
      `Expected ${vectorsFile} to have ${want} bytes as its manifest says, got ${size}. Make the index again.`,
    );
  const data = await readFloats(vectorsFile, dtype, rows * dimension, 0);
  const entries = await readIds(path.join(directory, 'ids.jsonl'));
  if (entries.length !== rows)
    throw new DataError(
      `Expected ids.jsonl in ${directory} to have ${rows} lines, got ${entries.length}. Make the index again.`,
    );
  return { model, modality, vectors: { data, shape: [rows, dimension] }, entries };
}

async function readIds(file: string): Promise<Entry[]> {
  const entries: Entry[] = [];
  try {
    for await (const line of textLines(file)) {
      if (line === '') continue;
      const { id, image, caption } = JSON.parse(line) as Partial<Entry>;
      entries.push({ id: String(id), image: image ?? '', caption: caption ?? '' });
    }
  } catch (error) {
    if (error instanceof SyntaxError)
      throw new DataError(
        `Expected line ${entries.length + 1} of ${file} to be JSON, got: ${error.message}.`,
        { cause: error },
      );
    throw fileError(error, 'read', file);
  }

  return entries;
}
