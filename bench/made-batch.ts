/** A training batch out of random numbers: what a step's time and memory depend on, and no files. */
import { uniform } from '../lib/bench/synthetic.js';
import type { NativeBatch } from '../lib/binding.js';
import { geometry } from '../lib/config/load.js';
import type { TrainConfig } from '../lib/config/schema.js';

export const longestCaption = 40;
export const maskId = 4;

/** The arrays of `madeBatch` by name. */
export type MadeArrays = ReturnType<typeof madeArrays>;

/** 13.4 tokens a caption on average; 40 % of the patches and 15 % of the words are masked. */
export function madeArrays({ model, train }: Pick<TrainConfig, 'model' | 'train'>) {
  const { size, grid, view } = geometry(model);
  const { vocabSize } = model.text;
  const pairs = train.batchSize;
  const random = uniform(1);
  const below = (limit: number) => Math.floor(random() * limit);
  const lengths = Int32Array.from({ length: pairs }, (_, pair) =>
    pair % 30 === 0 ? longestCaption : 7 + below(13),
  );
  const ids = Int32Array.from({ length: pairs * longestCaption }, (_, at) => {
    const [place, length] = [at % longestCaption, lengths[Math.floor(at / longestCaption)] as number];
    if (place >= length) return 0;
    return place === 0 ? 2 : place === length - 1 ? 3 : 5 + below(vocabSize - 5);
  });
  const textMask = Uint8Array.from(ids, (id) => (id > maskId && random() < 0.15 ? 1 : 0));
  return {
    images: Uint8Array.from({ length: pairs * size * size * 3 }, () => below(256)),
    tokenViews: Uint8Array.from({ length: pairs * view * view * 3 }, () => below(256)),
    ids,
    lengths,
    imageMask: Uint8Array.from({ length: pairs * grid * grid }, () => (random() < 0.4 ? 1 : 0)),
    textMask,
    maskedIds: ids.map((id, at) => (textMask[at] ? maskId : id)),
  };
}

/** A batch of `train.batchSize` pairs for the native trainer. */
export function madeBatch(config: Pick<TrainConfig, 'model' | 'train'>): NativeBatch {
  return batchOf(madeArrays(config), config.train.batchSize);
}

/** The same arrays, as they were handed on. */
export function batchOf(arrays: MadeArrays, size: number): NativeBatch {
  const { imageMask, maskedIds, textMask, ...inputs } = arrays;
  const places = Float64Array.from({ length: size }, (_, pair) => pair);
  return {
    size,
    frames: null,
    ...inputs,
    samples: places,
    imageIds: places,
    overrides: { imageMask, maskedIds, textMask },
  };
}
