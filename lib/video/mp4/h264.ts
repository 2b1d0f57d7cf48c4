/** What the headers of H.264 (ITU-T H.264) tell: size and colors of the pictures, and which packets others need. */
import { usual } from './boxes.js';

export interface H264Format {
  /** Pixels of the pictures, after cropping. */
  readonly width: number;
  readonly height: number;
  /** As ffmpeg names the transfer function; empty where it does not tell one. */
  readonly transfer: string;
}

/** Profiles whose headers name the format of the samples. */
const highProfiles = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/** Reads a sequence parameter set (7.3.2.1.1 and its colors, E.1.1). Throws `UnusualError`. */
export function readSequence(unit: Buffer): H264Format {
  const bits = new BitReader(withoutEscapes(unit.subarray(1)));
  const profile = bits.take(8);
  bits.take(16); // constraints, level
  bits.exponential(); // id
  const chroma = highProfiles.includes(profile) ? highFields(bits) : 1;
  bits.exponential(); // log2_max_frame_num
  const order = bits.exponential();
  if (order === 0) bits.exponential();
  if (order === 1) {
    bits.take(1);
    bits.exponential();
    bits.exponential();
    const cycle = bits.exponential();
    usual(cycle < 256, 'a short cycle of picture order');
    for (let index = 0; index < cycle; index++) bits.exponential();
  }

  bits.exponential(); // reference frames
  bits.take(1);
  const columns = bits.exponential() + 1;
  const rows = bits.exponential() + 1;
  const frames = bits.take(1); // 0: fields may come alone
  if (frames === 0) bits.take(1);
  bits.take(1);
  const [left, right, top, bottom] =
    bits.take(1) === 1 ? Array.from({ length: 4 }, () => bits.exponential()) : [0, 0, 0, 0];
  const unitX = chroma === 1 || chroma === 2 ? 2 : 1;
  const unitY = (chroma === 1 ? 2 : 1) * (2 - frames);
  return {
    width: 16 * columns - unitX * ((left as number) + (right as number)),
    height: 16 * rows * (2 - frames) - unitY * ((top as number) + (bottom as number)),
    transfer: bits.take(1) === 1 ? transferOf(bits) : '',
  };
}

/** The format of chroma samples (1 is 4:2:0). */
function highFields(bits: BitReader): number {
  const chroma = bits.exponential();
  usual(chroma <= 3, 'a known format of chroma');
  if (chroma === 3) bits.take(1);
  bits.exponential();
  bits.exponential();
  bits.take(1);
  usual(bits.take(1) === 0, 'no scaling matrices');
  return chroma;
}

const matrices: Readonly<Record<number, string>> = {
  0: 'gbr',
  1: 'bt709',
  2: 'unknown',
  5: 'bt470bg',
  6: 'smpte170m',
};
const primaries: Readonly<Record<number, string>> = {
  1: 'bt709',
  2: 'unknown',
  5: 'bt470bg',
  6: 'smpte170m',
};
const transfers: Readonly<Record<number, string>> = {
  ...primaries,
  4: 'bt470m',
  5: 'bt470bg',
  13: 'iec61966-2-1',
};

function transferOf(bits: BitReader): string {
  if (bits.take(1) === 1 && bits.take(8) === 255) bits.take(32); // aspect ratio
  if (bits.take(1) === 1) bits.take(1); // overscan
  if (bits.take(1) === 0) return '';
  bits.take(4); // format, range
  if (bits.take(1) === 0) return '';
  const [primary, transfer, matrix] = [
    primaries[bits.take(8)],
    transfers[bits.take(8)],
    matrices[bits.take(8)],
  ];
  usual(primary !== undefined && transfer !== undefined && matrix !== undefined, 'usual colors');
  return primary === transfer && transfer === matrix ? '' : transfer; // ffmpeg tells three that are alike as one
}

export interface H264Packet {
  /** Other packets may need it. */
  readonly isReference: boolean;
  /** Has an IDR picture, before which nothing is needed. */
  readonly isEntry: boolean;
}

/** By the first byte of each unit of a packet: nal_ref_idc and nal_unit_type (7.3.1). */
export function judgeUnits(firstBytes: readonly number[]): H264Packet {
  return {
    isReference: firstBytes.some((byte) => (byte & 0x60) !== 0),
    isEntry: firstBytes.some((byte) => (byte & 31) === 5),
  };
}

/** 0, 0, 3 stands for 0, 0. */
function withoutEscapes(bytes: Buffer): Buffer {
  return Buffer.from(
    bytes.filter((byte, at) => !(byte === 3 && at >= 2 && bytes[at - 1] === 0 && bytes[at - 2] === 0)),
  );
}

class BitReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Of up to 32 bits. */
  take(count: number): number {
    let value = 0;
    for (let index = 0; index < count; index++, this.#at++) {
      const byte = this.#bytes[this.#at >> 3];
      usual(byte !== undefined, 'a whole sequence parameter set');
      value = 2 * value + ((byte >> (7 - (this.#at & 7))) & 1);
    }

    return value;
  }

  /** ue(v) of 9.1; also passes over se(v). */
  exponential(): number {
    let zeros = 0;
    while (this.take(1) === 0) usual(++zeros < 32, 'numbers of 32 bits');
    return 2 ** zeros - 1 + this.take(zeros);
  }
}
