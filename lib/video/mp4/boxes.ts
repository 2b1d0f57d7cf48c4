/** Boxes of an MP4 file (ISO/IEC 14496-12), as far as the list of its packets needs them. */

/** A file that is not of the usual form: ffmpeg has to read it, and to say what is wrong with one that is broken. */
export class UnusualError extends Error {}

export function usual(condition: boolean, what: string): asserts condition {
  if (!condition) throw new UnusualError(what);
}

/** Bytes of the file; throws `UnusualError` where it ends before. */
export type ReadAt = (position: number, length: number) => Promise<Buffer>;

/** A table of `maxFrames` samples takes less. */
const largestMovie = 64 * 2 ** 20;
const mostBoxes = 4096;

/** The content of the `moov` box of a file of `length` bytes. Throws `UnusualError`. */
export async function movieBox(read: ReadAt, length: number): Promise<Buffer> {
  let at = 0;
  for (let count = 0; count < mostBoxes && at + 16 <= length; count++) {
    const header = await read(at, 16);
    const [type, head, size] = headerOf(header, length - at);
    usual(count > 0 || type === 'ftyp', 'a file that begins with ftyp');
    usual(type !== 'moof', 'a file in one piece');
    if (type === 'moov') {
      usual(size <= largestMovie, 'a small index');
      return read(at + head, size - head);
    }

    at += size;
  }

  throw new UnusualError('a moov box');
}

/** The boxes inside a box, by type and in order. Throws `UnusualError`, and `RangeError` of one that is cut. */
export function boxesOf(content: Buffer): [type: string, content: Buffer][] {
  const boxes: [string, Buffer][] = [];
  for (let at = 0; at + 8 <= content.length; ) {
    const [type, head, size] = headerOf(content.subarray(at, at + 16), content.length - at);
    boxes.push([type, content.subarray(at + head, at + size)]);
    usual(boxes.length <= mostBoxes, 'few boxes');
    at += size;
  }

  return boxes;
}

/** The one box of a type, its parents by their types before it. Throws `UnusualError` where it is missing or there are several. */
export function theBox(content: Buffer, ...path: readonly string[]): Buffer {
  return path.reduce((inside, type) => {
    const found = boxesOf(inside).filter(([own]) => own === type);
    usual(found.length === 1, `one ${type}`);
    return (found[0] as [string, Buffer])[1];
  }, content);
}

/** Undefined where there is none; throws `UnusualError` where there are several. */
export function optionalBox(content: Buffer, type: string): Buffer | undefined {
  const found = boxesOf(content).filter(([own]) => own === type);
  usual(found.length <= 1, `at most one ${type}`);
  return found[0]?.[1];
}

function headerOf(bytes: Buffer, room: number): [type: string, head: number, size: number] {
  const short = bytes.readUInt32BE(0);
  const type = bytes.toString('latin1', 4, 8);
  const head = short === 1 ? 16 : 8;
  const size = short === 1 ? Number(bytes.readBigUInt64BE(8)) : short;
  usual(size >= head && size <= room, 'boxes that end inside their parent');
  return [type, head, size];
}
