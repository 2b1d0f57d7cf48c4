/** Models that transformers saved, and what it computes with them (test/reference/make_weights_fixtures.py). */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { fixturePath, maxDifference, pick, readSettings, readTensors } from './fixtures.js';

export const weightsFolder = (name: string): string => fixturePath(path.join('weights', name));

/** Images that the references were made of, in their order. */
export const referenceImages = (): string[] => {
  const folder = weightsFolder('images');
  return readdirSync(folder)
    .sort()
    .map((name) => path.join(folder, name));
};

export const { texts: awkwardTexts, layouts } = readSettings<{
  texts: string[];
  layouts: { dual: Record<string, number[]> };
}>('weights/weights');

const arrays = readTensors('weights/arrays');

export const referenceFloats = (name: string): Float32Array => pick(arrays, name, Float32Array);

/** Ids of each text, without padding. */
export const referenceIds = (family: string): number[][] => {
  const ids = pick(arrays, `${family}.ids`, Int32Array);
  const lengths = pick(arrays, `${family}.lengths`, Int32Array);
  const columns = ids.length / lengths.length;
  return Array.from(lengths, (length, row) =>
    Array.from(ids.subarray(row * columns, row * columns + length)),
  );
};

/** Largest difference from the reference of that name. */
export const differenceFrom = (ours: Float32Array, name: string): number =>
  maxDifference(ours, referenceFloats(name));
