/** What to lower so that a run fits a machine's memory: searches on the estimate of memory.ts. */
import type { NativeTokenizerConfig } from '../binding.js';
import { type Checkpointing, memoryEstimate, type PairFacts } from './memory.js';
import type { TrainConfig } from './schema.js';

/** The largest batch that fits, `train.accumulate` as it is; 0 where not even one pair a micro-batch does. */
export function largestBatch(
  config: TrainConfig,
  imageTokenizer: NativeTokenizerConfig,
  limitBytes: number,
  facts?: PairFacts,
): number {
  const { accumulate } = config.train;
  const fits = (batchSize: number): boolean =>
    memoryEstimate({ ...config, train: { ...config.train, batchSize } }, imageTokenizer, facts).total <=
    limitBytes;
  let [low, high] = [0, accumulate];
  while (high < 2 ** 24 && fits(high)) [low, high] = [high, 2 * high];
  while (high - low > accumulate) {
    const middle = accumulate * Math.floor((low + high) / 2 / accumulate);
    if (fits(middle)) low = middle;
    else high = middle;
  }

  return low;
}

/** The fewest micro-batches with which the batch fits; null where single pairs do not. */
export function fewestMicroBatches(
  config: TrainConfig,
  imageTokenizer: NativeTokenizerConfig,
  limitBytes: number,
  facts?: PairFacts,
): number | null {
  const { batchSize } = config.train;
  for (let accumulate = 1; accumulate <= batchSize; accumulate = nextDivision(batchSize, accumulate)) {
    const cut = { ...config, train: { ...config.train, accumulate } };
    if (memoryEstimate(cut, imageTokenizer, facts).total <= limitBytes) return accumulate;
  }

  return null;
}

/** From what takes least time to what takes least memory. */
export const checkpointings: readonly Checkpointing[] = ['off', 'selective', 'full'];

/** The quickest setting with which the batch fits, micro-batches as they are; null where none does. */
export function quickestCheckpointing(
  config: TrainConfig,
  imageTokenizer: NativeTokenizerConfig,
  limitBytes: number,
  facts?: PairFacts,
): Checkpointing | null {
  const fits = (checkpointing: Checkpointing): boolean =>
    memoryEstimate({ ...config, train: { ...config.train, checkpointing } }, imageTokenizer, facts).total <=
    limitBytes;
  return checkpointings.find(fits) ?? null;
}

/** The next number of parts that makes the largest part smaller. */
function nextDivision(whole: number, parts: number): number {
  const part = Math.ceil(whole / parts);
  return part === 1 ? whole + 1 : Math.ceil(whole / (part - 1));
}
