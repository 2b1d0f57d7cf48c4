/** Reads what test/reference/make_golden.py wrote: a plain safetensors reader, independent of the addon's. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../../lib/binding.js';

export type Tensor = { shape: number[]; data: Float32Array | Int32Array | Uint8Array };

export const fixtureFolder = path.join(packageRoot(), 'test', 'reference', 'fixtures');

/** A file of the fixtures; an absolute path stays. */
export const fixturePath = (name: string): string => path.resolve(fixtureFolder, name);

const arrays = { F32: Float32Array, I32: Int32Array, U8: Uint8Array } as const;

/** Every tensor of a safetensors file by name. */
export const readTensors = (name: string): Map<string, Tensor> => {
  const bytes = readFileSync(fixturePath(`${name}.safetensors`));
  const headerSize = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerSize)) as Record<
    string,
    { dtype: keyof typeof arrays; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, Tensor>();
  for (const [key, entry] of Object.entries(header)) {
    if (key === '__metadata__') continue;
    const [begin, end] = entry.data_offsets;
    const copy = new Uint8Array(bytes.subarray(8 + headerSize + begin, 8 + headerSize + end)).buffer;
    tensors.set(key, { shape: entry.shape, data: new arrays[entry.dtype](copy) });
  }

  return tensors;
};

export const readSettings = <T>(name: string): T =>
  JSON.parse(readFileSync(fixturePath(`${name}.json`), 'utf8')) as T;

/** The named tensor, as the array type that the caller expects. */
export const pick = <T extends Tensor['data']>(
  tensors: Map<string, Tensor>,
  name: string,
  type: new (...values: never[]) => T,
): T => {
  const tensor = tensors.get(name);
  if (tensor === undefined || !(tensor.data instanceof type)) {
    throw new Error(`fixture has no ${type.name} called ${name}`);
  }

  return tensor.data as T;
};

/** Largest absolute difference of two arrays of one length. */
export const maxDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  if (a.length !== b.length) {
    throw new Error(`lengths differ: ${a.length} and ${b.length}`);
  }

  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs((a[i] as number) - (b[i] as number));
    largest = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : Math.max(largest, difference);
  }

  return largest;
};
