/** NumPy's .npy files of two-dimensional float32 or float16 arrays, C order (format version 1.0). */
import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import type { Matrix } from '../binding.js';
import { DataError } from '../errors.js';
import { fileError } from '../read-file.js';
import { replaceFile } from '../write-file.js';

const magic = '\x93NUMPY';
const headerBytes = 128;

/** Writes a float32 matrix, complete or not at all. */
export async function writeNpy(file: string, matrix: Matrix): Promise<void> {
  await replaceFile(file, async (temporary) => {
    const handle = await open(temporary, 'w');
    try {
      await writeAll(handle, npyHeader(matrix.shape));
      await writeAll(handle, bytesOf(matrix.data));
    } finally {
      await handle.close();
    }
  });
}

/** The bytes of an array, little endian as every supported machine has them. */
export function bytesOf(data: Float32Array | Uint16Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let begin = 0; begin < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, begin, Math.min(bytes.length - begin, 1 << 26));
    begin += bytesWritten;
  }
}

function npyHeader([rows, columns]: readonly [number, number]): Buffer {
  const header = Buffer.alloc(headerBytes, ' ');
  header.write(magic, 0, 'latin1');
  header[6] = 1;
  header[7] = 0;
  header.writeUInt16LE(headerBytes - 10, 8);
  header.write(`{'descr': '<f4', 'fortran_order': False, 'shape': (${rows}, ${columns}), }`, 10, 'latin1');
  header.write('\n', headerBytes - 1);
  return header;
}

/** What a .npy file holds. */
export interface NpyShape {
  readonly dtype: 'float32' | 'float16';
  readonly shape: readonly [rows: number, columns: number];
  /** Where the values begin. */
  readonly offset: number;
}

/** Reads a header; throws `ERR_COTS_DATA` for another array than the ones above, or a file cut short. */
export async function readNpyShape(file: string): Promise<NpyShape> {
  return withFile(file, async (handle) => {
    const start = Buffer.alloc(12);
    await handle.read(start, 0, 12, 0);
    if (start.toString('latin1', 0, 6) !== magic)
      throw new DataError(`Expected ${file} to be a .npy file, got other bytes.`);
    const wide = (start[6] as number) > 1;
    const length = wide ? start.readUInt32LE(8) : start.readUInt16LE(8);
    const offset = (wide ? 12 : 10) + length;
    const header = Buffer.alloc(Math.min(length, 65_536));
    await handle.read(header, 0, header.length, wide ? 12 : 10);
    const text = header.toString('latin1');
    const dtype = /'descr':\s*'<f([24])'/.exec(text)?.[1];
    const shape = /'shape':\s*\((\d+),\s*(\d+)\)/.exec(text);
    if (dtype === undefined || shape === null || !/'fortran_order':\s*False/.test(text)) {
      throw new DataError(
        `Expected ${file} to hold a C-ordered float32 or float16 matrix, got ${text.trim()}.`,
      );
    }

    const rows = Number(shape[1]);
    const columns = Number(shape[2]);
    const want = offset + rows * columns * Number(dtype);
    const { size } = await handle.stat();
    if (size < want)
      throw new DataError(
        `Expected ${file} to have ${want} bytes, got ${size}: it is cut short. Embed again.`,
      );
    return { dtype: dtype === '4' ? 'float32' : 'float16', shape: [rows, columns], offset };
  });
}

/** Reads a matrix as float32. */
export async function readNpy(file: string): Promise<Matrix> {
  const { dtype, shape, offset } = await readNpyShape(file);
  return { data: await readFloats(file, dtype, shape[0] * shape[1], offset), shape: [shape[0], shape[1]] };
}

/** Reads `count` floats at `offset`, as float32. */
export async function readFloats(
  file: string,
  dtype: 'float32' | 'float16',
  count: number,
  offset: number,
): Promise<Float32Array> {
  return withFile(file, async (handle) => {
    const size = dtype === 'float32' ? 4 : 2;
    const bytes = Buffer.from(new ArrayBuffer(count * size));
    for (let begin = 0; begin < bytes.length; ) {
      const { bytesRead } = await handle.read(
        bytes,
        begin,
        Math.min(bytes.length - begin, 1 << 26),
        offset + begin,
      );
      if (bytesRead === 0)
        throw new DataError(
          `Expected ${file} to have ${offset + bytes.length} bytes, it ended at ${offset + begin}.`,
        );
      begin += bytesRead;
    }

    if (dtype === 'float32') return new Float32Array(bytes.buffer, bytes.byteOffset, count);
    return Float32Array.from(new Uint16Array(bytes.buffer, bytes.byteOffset, count), halfToFloat);
  });
}

async function withFile<T>(file: string, read: (handle: FileHandle) => Promise<T>): Promise<T> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, 'r');
    return await read(handle);
  } catch (error) {
    throw fileError(error, 'read', file);
  } finally {
    await handle?.close();
  }
}

/** IEEE 754 binary16 to a number. */
export function halfToFloat(half: number): number {
  const sign = half & 0x80_00 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3_ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** A number to the nearest IEEE 754 binary16, ties to even; beyond 65,504 infinity. */
export function floatToHalf(value: number): number {
  float[0] = value;
  const word = bits[0] as number;
  const sign = (word >>> 16) & 0x80_00;
  const magnitude = word & 0x7f_ff_ff_ff;
  if (magnitude > 0x7f_80_00_00) return sign | 0x7e_00; // NaN
  if (magnitude >= 0x47_7f_f0_00) return sign | 0x7c_00;
  if (magnitude < 0x38_80_00_00) return sign | roundHalfEven(Math.abs(float[0] as number) * 2 ** 24);
  // The exponent is rebased from 127 to 15; a carry out of the fraction raises it, as it should.
  return sign | roundHalfEven((magnitude - 0x38_00_00_00) / 2 ** 13);
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
