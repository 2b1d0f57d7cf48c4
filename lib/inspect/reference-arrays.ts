/** NumPy arrays of any rank, as a reference stores them (format versions 1 to 3, little endian, C order). */
import { DataError } from '../errors.js';
import { readBytes } from '../read-file.js';
import { halfToFloat } from '../search/npy.js';

export interface ReferenceArray {
  readonly shape: number[];
  /** Row-major. */
  readonly data: Float64Array;
}

type Read = (view: DataView, offset: number) => number;

// NumPy's names of types, the bytes of a value and how it is read.
const types: Readonly<Record<string, readonly [bytes: number, read: Read]>> = {
  '<f2': [2, (view, offset) => halfToFloat(view.getUint16(offset, true))],
  '<f4': [4, (view, offset) => view.getFloat32(offset, true)],
  '<f8': [8, (view, offset) => view.getFloat64(offset, true)],
  '<i4': [4, (view, offset) => view.getInt32(offset, true)],
  '<i8': [8, (view, offset) => Number(view.getBigInt64(offset, true))],
  '|u1': [1, (view, offset) => view.getUint8(offset)],
};

/** Throws `ERR_COTS_DATA` for other bytes, another type or a file cut short, `ERR_COTS_FILE`. */
export async function readReferenceArray(file: string): Promise<ReferenceArray> {
  const bytes = await readBytes(file, 'a reference array');
  if (bytes.length < 12 || bytes.toString('latin1', 0, 6) !== '\x93NUMPY')
    throw new DataError(`Expected ${file} to be a .npy file, got other bytes. Write it with numpy.save.`);
  const begin = (bytes[6] as number) > 1 ? 12 : 10;
  const length = begin === 12 ? bytes.readUInt32LE(8) : bytes.readUInt16LE(8);
  const header = bytes.toString('latin1', begin, begin + length);
  const type = types[/'descr':\s*'([^']*)'/.exec(header)?.[1] ?? ''];
  const sides = /'shape':\s*\(([\d,\s]*)\)/.exec(header)?.[1];
  if (type === undefined || sides === undefined || !/'fortran_order':\s*False/.test(header)) {
    throw new DataError(
      `Expected ${file} to hold a C-ordered array of ${Object.keys(types).join(', ')}, got ${header.trim()}. Save it with numpy.ascontiguousarray(x, dtype='float32').`,
    );
  }

  const shape = sides
    .split(',')
    .map((side) => side.trim())
    .filter((side) => side !== '')
    .map(Number);
  const [size, read] = type;
  const count = shape.reduce((product, side) => product * side, 1);
  const wanted = begin + length + count * size;
  if (bytes.length < wanted)
    throw new DataError(
      `Expected ${file} to have ${wanted} bytes, got ${bytes.length}: it is cut short. Write it again.`,
    );
  const view = new DataView(bytes.buffer, bytes.byteOffset + begin + length, count * size);
  return { shape, data: Float64Array.from({ length: count }, (_, index) => read(view, index * size)) };
}
