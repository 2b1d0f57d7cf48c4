/** Made inputs of the benchmarks: JPEGs with the detail of photographs, captions of a given number of words, random unit rows. */
import sharp from 'sharp';
import type { Matrix } from '../binding.js';

/** A seeded generator (mulberry32), uniform in [0, 1). */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A JPEG of quality 90: enlarged noise under fine noise, so that its size a pixel is near a photograph's. */
export async function syntheticJpeg(width: number, height: number, seed: number): Promise<Buffer> {
  const random = uniform(seed);
  const coarse = Buffer.from(Uint8Array.from({ length: 3 * 16 * 12 }, () => 256 * random()));
  const smooth = await sharp(coarse, { raw: { width: 16, height: 12, channels: 3 } })
    .resize(width, height, { fit: 'fill', kernel: 'cubic' })
    .raw()
    .toBuffer();
  const data = Buffer.from(smooth.map((value) => Math.min(255, Math.max(0, value + 24 * (random() - 0.5)))));
  return sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 90 })
    .toBuffer();
}

/** A text of `words` words out of `vocabulary` many. */
export function syntheticCaption(words: number, vocabulary: number, random: () => number): string {
  return Array.from({ length: words }, () => syntheticWord(Math.floor(random() * vocabulary))).join(' ');
}

/** Letters only, so that a cleaner and a tokenizer leave it whole. */
function syntheticWord(number: number): string {
  return `w${[...number.toString(26)].map((digit) => String.fromCharCode(97 + Number.parseInt(digit, 26))).join('')}`;
}

/** Rows of length 1 in random directions. */
export function unitRows(rows: number, columns: number, seed: number): Matrix {
  const random = uniform(seed);
  const data = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const values = data.subarray(row * columns, (row + 1) * columns);
    for (let column = 0; column < columns; column++) values[column] = random() + random() + random() - 1.5;
    const norm = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
    for (let column = 0; column < columns; column++) values[column] = (values[column] as number) / norm;
  }

  return { data, shape: [rows, columns] };
}
