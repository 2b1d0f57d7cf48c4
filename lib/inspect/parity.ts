/**
 * A model against arrays that another implementation made of the same images and texts: `cots doctor --parity DIR`. What DIR
 * holds is in docs/weights.md. Legend: n images, m texts, D embedding, L tokens, S pixels a side.
 */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { DataError } from '../errors.js';
import { Cots } from '../model/cots.js';
import { readPreprocessed } from '../model/preprocessed.js';
import { exists, fileError, kindOf, readJson, readText } from '../read-file.js';
import { type Comparison, compareExactly, compareRows, compareValues } from './differences.js';
import { readReferenceArray } from './reference-arrays.js';

export interface ParityOptions {
  /** Model folder. @default DIR/model */
  readonly model?: string;
  /** Largest difference of a value that passes. @default 1e-4 */
  readonly tolerance?: number;
}

export interface ParityReport {
  /** Every comparison passes. */
  readonly ok: boolean;
  readonly model: string;
  readonly comparisons: Comparison[];
}

const files = {
  pixels: 'pixel_values.npy',
  images: 'image_embeddings.npy',
  ids: 'input_ids.npy',
  texts: 'text_embeddings.npy',
} as const;
const defaultTolerance = 1e-4;

/** Throws `ERR_COTS_DATA` for a folder without arrays, or arrays of other sizes than the inputs; what loading a model throws. */
export async function checkParity(folder: string, options: ParityOptions = {}): Promise<ParityReport> {
  const has = async (name: string): Promise<boolean> => exists(path.join(folder, name));
  if (!(await has(files.images)) && !(await has(files.texts))) {
    throw new DataError(
      `Expected ${folder} to hold ${files.images}, ${files.texts} or both, found neither. docs/weights.md says how to make them.`,
    );
  }

  const directory = options.model ?? path.join(folder, 'model');
  const tolerance = options.tolerance ?? defaultTolerance;
  const model = await Cots.load(directory);
  try {
    const comparisons = [
      ...((await has(files.images)) ? await compareImages(model, directory, folder, tolerance) : []),
      ...((await has(files.texts)) ? await compareTexts(model, directory, folder, tolerance) : []),
    ];
    return { ok: comparisons.every(({ ok }) => ok), model: directory, comparisons };
  } finally {
    model.dispose();
  }
}

async function compareImages(
  model: Cots,
  directory: string,
  folder: string,
  tolerance: number,
): Promise<Comparison[]> {
  const images = await imagesOf(path.join(folder, 'images'));
  const found: Comparison[] = [];
  const pixels = path.join(folder, files.pixels);
  if (await exists(pixels)) {
    const { pixelsOf } = await readPreprocessed(directory);
    const values = await pixelsOf(images);
    found.push(compareValues(files.pixels, values, await readReferenceArray(pixels), tolerance));
  }

  const { data, shape } = await model.embedImages(images);
  found.push(
    compareRows(
      files.images,
      data,
      shape,
      await readReferenceArray(path.join(folder, files.images)),
      tolerance,
    ),
  );
  return found;
}

async function compareTexts(
  model: Cots,
  directory: string,
  folder: string,
  tolerance: number,
): Promise<Comparison[]> {
  const texts = await textsOf(folder);
  const found: Comparison[] = [];
  const ids = path.join(folder, files.ids);
  if (await exists(ids)) {
    const { idsOf } = await readPreprocessed(directory);
    found.push(compareExactly(files.ids, await idsOf(texts), await readReferenceArray(ids)));
  }

  const { data, shape } = await model.embedTexts(texts);
  found.push(
    compareRows(
      files.texts,
      data,
      shape,
      await readReferenceArray(path.join(folder, files.texts)),
      tolerance,
    ),
  );
  return found;
}

/** Paths in the order of their names, as Python's sorted() has them. */
async function imagesOf(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw fileError(error, 'read the images in', folder);
  });
  return names
    .filter((name) => !name.startsWith('.'))
    .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .map((name) => path.join(folder, name));
}

/** texts.json, an array of strings; or texts.txt, a text a line. */
async function textsOf(folder: string): Promise<string[]> {
  const file = path.join(folder, 'texts.json');
  if ((await kindOf(file)) !== 'file') {
    const lines = (await readText(path.join(folder, 'texts.txt'), 'the texts')).split('\n');
    return lines.at(-1) === '' ? lines.slice(0, -1) : lines;
  }

  const texts = await readJson(file, 'ERR_COTS_DATA');
  if (Array.isArray(texts) && texts.every((text) => typeof text === 'string')) return texts;
  throw new DataError(
    `Expected ${file} to hold an array of texts, got other JSON. Write it with json.dump(list_of_texts, file).`,
  );
}
