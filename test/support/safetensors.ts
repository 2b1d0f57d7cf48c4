/** Writes and changes safetensors files byte by byte, independent of the addon's writer. */
import { readFile, writeFile } from 'node:fs/promises';

/** A tensor as it lies in a file. */
export interface RawTensor {
  readonly dtype: string;
  readonly shape: number[];
  readonly bytes: Uint8Array;
}

export function float32(shape: number[], values: Iterable<number>): RawTensor {
  return { dtype: 'F32', shape, bytes: new Uint8Array(Float32Array.from(values).buffer) };
}

/** float32 numbers that differ, small and of mean 0. */
export function numbers(shape: number[], seed = 1): RawTensor {
  const count = shape.reduce((product, side) => product * side, 1);
  return float32(
    shape,
    Array.from({ length: count }, (_, index) => Math.sin(seed + 1.7 * index) / 4),
  );
}

export async function writeSafetensors(file: string, tensors: ReadonlyMap<string, RawTensor>): Promise<void> {
  const header: Record<string, object> = { __metadata__: { format: 'pt' } };
  let end = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] };
    end += bytes.length;
  }

  const text = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  await writeFile(file, Buffer.concat([size, text, ...[...tensors.values()].map(({ bytes }) => bytes)]));
}

export async function readSafetensors(file: string): Promise<Map<string, RawTensor>> {
  const bytes = await readFile(file);
  const begin = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, begin)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  return new Map(
    Object.entries(header)
      .filter(([name]) => name !== '__metadata__')
      .map(
        ([
          name,
          {
            dtype,
            shape,
            data_offsets: [from, to],
          },
        ]) => [name, { dtype, shape, bytes: new Uint8Array(bytes.subarray(begin + from, begin + to)) }],
      ),
  );
}

/** Rewrites a file with its tensors changed in place. */
export async function changeTensors(
  file: string,
  change: (tensors: Map<string, RawTensor>) => void,
): Promise<void> {
  const tensors = await readSafetensors(file);
  change(tensors);
  await writeSafetensors(file, tensors);
}
