/** What tells whether two pictures look alike: a difference hash and a thumbnail of colors. */
import { resize } from '../../ops.js';
import type { DecodedImage } from '../decode.js';

/** Side of the hash in comparisons: 8 rows of 8 neighbors, 64 bits. */
const hashSide = 8;
/** Side of the thumbnail in pixels. */
const thumbnailSide = 8;

/** Bytes of a thumbnail. */
export const thumbnailBytes = 3 * thumbnailSide ** 2;

export interface Fingerprint {
  /** Bit by bit, row by row from the top left: 1 where a pixel is brighter than the one at its left. Two 32-bit words, first bit highest. */
  readonly hash: readonly [high: number, low: number];
  /** RGB, 8 x 8. */
  readonly thumbnail: Uint8Array;
}

/** The same bits as `imagehash.dhash` gives of `image.convert('RGB')`: gray by Pillow's weights, 9 x 8 by Lanczos. */
export async function fingerprint({ data, width, height }: DecodedImage): Promise<Fingerprint> {
  const filter = 'lanczos' as const;
  const gray = grayOf(data);
  const [rows, thumbnail] = await Promise.all([
    resize({ data: gray, width, height, to: [hashSide + 1, hashSide], filter }),
    resize({ data, width, height, to: [thumbnailSide, thumbnailSide], filter }),
  ]);
  const words: [number, number] = [0, 0];
  for (let bit = 0; bit < hashSide ** 2; bit++) {
    const [row, column] = [Math.floor(bit / hashSide), bit % hashSide];
    const at = 3 * (row * (hashSide + 1) + column);
    const word = bit < 32 ? 0 : 1;
    if ((rows[at + 3] as number) > (rows[at] as number))
      words[word] = (words[word] | (1 << (31 - (bit % 32)))) >>> 0;
  }

  return { hash: words, thumbnail };
}

/** Pillow's `L`, in all three channels, which the resampling treats alike. */
function grayOf(data: Uint8Array): Uint8Array {
  const gray = new Uint8Array(data.length);
  for (let at = 0; at < data.length; at += 3) {
    const [red, green, blue] = [data[at] as number, data[at + 1] as number, data[at + 2] as number];
    const value = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    gray.fill(value, at, at + 3);
  }

  return gray;
}
