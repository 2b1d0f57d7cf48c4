/**
 * Where the members of a tar file stand, so that one can be read without the others; tar libraries stream and do not tell.
 * POSIX ustar with pax records, and GNU's long names and sizes. Links are left out: nothing is ever read through a name.
 */
import { show } from '../../checks.js';
import { DataError } from '../../errors.js';
import type { ByteSource } from './byte-source.js';

/** A regular file in a tar file. */
export interface TarMember {
  readonly name: string;
  /** Where its bytes begin. */
  readonly offset: number;
  /** In bytes; the file may end before in a tar that was cut. */
  readonly size: number;
}

const block = 512;
/** A name or a pax record is short; a longer one is a broken file. */
const longestExtra = 1 << 20;

/** Type flags (POSIX, GNU). */
const types = { regular: ['0', '\0', '7'], longName: 'L', pax: 'x' } as const;

/** The members in order. Throws `ERR_COTS_DATA` that names the byte at which the file is no tar. */
export async function* tarMembers(
  source: ByteSource,
  file: string,
): AsyncGenerator<TarMember, void, undefined> {
  const end = source.bytes;
  const wrong = (at: number, got: string) =>
    new DataError(
      `Expected a tar header at byte ${at} of ${file}, got ${got}. Restore the file from its source.`,
    );
  let extra: { name?: string; size?: number } = {};
  for (let at = 0; at + block <= end; ) {
    const header = await source.read(at, block);
    if (header.every((byte) => byte === 0)) return;
    if (!hasRightSum(header)) throw wrong(at, 'other bytes');
    const size = extra.size ?? number(header, 124, 12);
    if (!Number.isSafeInteger(size) || size < 0) throw wrong(at, `a size of ${show(size)}`);
    const type = String.fromCharCode(header[156] as number);
    const offset = at + block;
    if (type === types.longName || type === types.pax) {
      if (size > longestExtra) throw wrong(at, `a name of ${size} bytes`);
      const content = (await source.read(offset, Math.min(size, end - offset))).toString('utf8');
      extra = type === types.pax ? paxRecords(content) : { name: content.replace(/\0.*$/s, '') };
    } else {
      if ((types.regular as readonly string[]).includes(type))
        yield { name: extra.name ?? nameOf(header), offset, size };
      extra = {};
    }

    at = offset + Math.ceil(size / block) * block;
  }
}

/** The bytes of a member, cut where the tar ends. Throws `ERR_COTS_DATA` when other bytes stand in its place by now. */
export async function readTarMember(
  read: (position: number, length: number) => Promise<Buffer>,
  { name, offset, size }: TarMember,
  file: string,
): Promise<Buffer> {
  const bytes = await read(offset - block, block + size);
  const header = bytes.subarray(0, block);
  if (header.length === block && hasRightSum(header) && describes(header, size)) return bytes.subarray(block);
  throw new DataError(
    `Expected ${name} at byte ${offset} of ${file}, as when its index was made, got other bytes. Run again when the file does not change any more.`,
  );
}

/** A pax record may hold the size, and its header then anything. */
function describes(header: Buffer, size: number): boolean {
  return number(header, 124, 12) === size || size >= 8 ** 11;
}

/** The sum of the header's bytes, its own eight counted as spaces. */
function hasRightSum(header: Buffer): boolean {
  let sum = 8 * 0x20;
  for (const [index, byte] of header.entries()) if (index < 148 || index >= 156) sum += byte;
  return sum === number(header, 148, 8);
}

/** Octal digits, or GNU's big-endian number after a byte with its top bit set. */
function number(header: Buffer, at: number, length: number): number {
  if (((header[at] as number) & 0x80) === 0) {
    const digits = text(header, at, length).trim();
    return digits === '' ? 0 : /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number.NaN;
  }

  return header.subarray(at + 1, at + length).reduce((value, byte) => value * 256 + byte, 0);
}

function nameOf(header: Buffer): string {
  const isPosix = header.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isPosix ? text(header, 345, 155) : '';
  return prefix === '' ? text(header, 0, 100) : `${prefix}/${text(header, 0, 100)}`;
}

function text(header: Buffer, at: number, length: number): string {
  const field = header.subarray(at, at + length);
  const zero = field.indexOf(0);
  return field.toString('utf8', 0, zero === -1 ? length : zero);
}

/** `LENGTH key=value\n`, again and again. */
function paxRecords(content: string): { name?: string; size?: number } {
  const found: { name?: string; size?: number } = {};
  const bytes = Buffer.from(content);
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const length = space === -1 ? Number.NaN : Number(bytes.toString('latin1', at, space));
    if (!Number.isInteger(length) || length <= space - at) break;
    const record = bytes.toString('utf8', space + 1, at + length - 1);
    const equals = record.indexOf('=');
    const [key, value] = [record.slice(0, equals), record.slice(equals + 1)];
    if (key === 'path') found.name = value;
    if (key === 'size') found.size = Number(value);
    at += length;
  }

  return found;
}
