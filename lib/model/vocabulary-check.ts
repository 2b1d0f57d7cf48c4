/** Whether a tokenizer is the one of a word table. */
import type { TextTokenizer } from '../data/text/tokenizer.js';
import { CheckpointError } from '../errors.js';

// Word tables are padded to a multiple of 8, 64 or 128 rows, for the GPU's sake.
const paddedTo = { multiple: 8, below: 128 };

/** Throws `ERR_COTS_CHECKPOINT` where a published model's vocabulary and word table disagree. */
export function checkVocabulary(tokenizer: TextTokenizer, rows: number, folder: string): void {
  const words = tokenizer.vocabSize;
  const isPadding = rows > words && rows % paddedTo.multiple === 0 && rows - words < paddedTo.below;
  if (words === rows || isPadding) return;
  throw new CheckpointError(
    `Expected the tokenizer in ${folder} to have the ${rows} words of "vocab_size" in its config.json, got ${words}. Put the tokenizer that belongs to the model there.`,
  );
}
