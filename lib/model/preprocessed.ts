/** What a model's towers take, for a look at the steps before them: normalized pixels and token ids. */
import path from 'node:path';
import { cleanCaption } from '../data/text/clean.js';
import { TextTokenizer } from '../data/text/tokenizer.js';
import { modelFiles, readModelDescription } from './config-file.js';
import { type ImageInput, imageViews } from './image-input.js';

export interface Preprocessed {
  /** float32 [n, 3, S, S]. */
  pixelsOf(images: readonly ImageInput[]): Promise<{ shape: number[]; data: Float32Array }>;
  /** The ids of each text, its two ends included. */
  idsOf(texts: readonly string[]): Promise<Int32Array[]>;
}

/** Reads a model folder's rules. Throws what `Cots.load` throws. */
export async function readPreprocessed(directory: string): Promise<Preprocessed> {
  const { config, image, text } = await readModelDescription(directory);
  const { size } = config.image;
  return {
    async pixelsOf(images) {
      const views = await imageViews(images, 0, size, image);
      return { shape: [images.length, 3, size, size], data: normalized(views, size, image) };
    },
    async idsOf(texts) {
      const tokenizer = await TextTokenizer.load(path.join(directory, modelFiles.tokenizer));
      return texts.map((one) =>
        tokenizer.encode(cleanCaption(one, text.clean, text.maxWords), text.maxLength),
      );
    },
  };
}

/** uint8 [n, S, S, 3] to float32 [n, 3, S, S] in the native order of float32 steps (io/pixels.h). */
function normalized(
  views: Uint8Array,
  size: number,
  { mean, std }: { mean: readonly number[]; std: readonly number[] },
): Float32Array {
  const area = size * size;
  const { fround } = Math;
  const tables = [0, 1, 2].map((channel) =>
    Float32Array.from({ length: 256 }, (_, x) =>
      fround(fround(fround(x / 255) - fround(mean[channel] as number)) / fround(std[channel] as number)),
    ),
  );
  const data = new Float32Array(views.length);
  for (const [index, x] of views.entries()) {
    const channel = index % 3;
    const pixel = Math.floor(index / 3);
    const image = Math.floor(pixel / area);
    data[(3 * image + channel) * area + (pixel % area)] = (tables[channel] as Float32Array)[x] as number;
  }

  return data;
}
