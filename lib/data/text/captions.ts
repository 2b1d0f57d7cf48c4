/** Captions as the text tower takes them, and the vocabulary of a run. */
import type { TrainConfig } from '../../config/schema.js';
import { ConfigError } from '../../errors.js';
import { cleanCaption, type TextCleaning } from './clean.js';
import { TextTokenizer } from './tokenizer.js';
import { countWords, makeVocabulary } from './vocabulary.js';

/** How captions become ids. */
export interface CaptionRules {
  readonly clean: TextCleaning;
  /** Words that `albef` cleaning keeps; 0: all. */
  readonly maxWords: number;
  /** Ids at most, [CLS] and [SEP] included. */
  readonly maxLength: number;
}

/** The rules of a config. */
export function captionRules({ data }: Pick<TrainConfig, 'data'>): CaptionRules {
  return { clean: data.textClean, maxWords: data.textMaxWords, maxLength: data.textMaxLen };
}

/** What a kept array takes beside its numbers, measured: its objects and its place in the map outweigh the ids of a caption. */
const bytesOfEntry = 400;

/** Ids of captions, each encoded once while the store has room. */
export class CaptionEncoder {
  readonly tokenizer: TextTokenizer;
  readonly rules: CaptionRules;
  readonly #known = new Map<string, Int32Array>();
  readonly #maxBytes: number;
  #bytes = 0;

  /** @param maxBytes memory of the ids that are kept. */
  constructor(tokenizer: TextTokenizer, rules: CaptionRules, maxBytes = 32 * 2 ** 20) {
    this.tokenizer = tokenizer;
    this.rules = rules;
    this.#maxBytes = maxBytes;
  }

  /** [CLS] ids [SEP] of one caption; do not write to it. */
  encode(caption: string): Int32Array {
    const known = this.#known.get(caption);
    if (known !== undefined) return known;
    const { clean, maxWords, maxLength } = this.rules;
    const ids = this.tokenizer.encode(cleanCaption(caption, clean, maxWords), maxLength);
    const bytes = bytesOfEntry + ids.byteLength;
    if (this.#bytes + bytes <= this.#maxBytes) {
      this.#bytes += bytes;
      this.#known.set(caption, ids);
    }

    return ids;
  }
}

/**
 * The tokenizer of a run: `data.vocabulary`, or one made from the captions. Throws `ERR_COTS_CONFIG` for a vocabulary larger
 * than `model.text.vocabSize`, `ERR_COTS_TOKENIZER`, `ERR_COTS_FILE`.
 */
export async function textTokenizerFor(
  { data, model }: Pick<TrainConfig, 'data' | 'model'>,
  captions: Iterable<string>,
): Promise<TextTokenizer> {
  const { vocabSize } = model.text;
  if (data.vocabulary === null) {
    const counts = await countWords(cleaned(captions, data.textClean, data.textMaxWords));
    return TextTokenizer.fromVocabulary(makeVocabulary(counts, { size: vocabSize }));
  }

  const tokenizer = await TextTokenizer.load(data.vocabulary);
  if (tokenizer.vocabSize > vocabSize) {
    throw new ConfigError(
      `Expected \`model.text.vocabSize\` to be at least the ${tokenizer.vocabSize} words of ${data.vocabulary}, got ${vocabSize}. Set model.text.vocabSize=${tokenizer.vocabSize}.`,
    );
  }

  return tokenizer;
}

/** The special words of a vocabulary that training can use. Throws `ERR_COTS_CONFIG` for one without the mask of CMLM. */
export function trainableWords({ special }: TextTokenizer): {
  pad: number;
  cls: number;
  sep: number;
  mask: number;
} {
  const { mask } = special;
  if (mask !== null) return { ...special, mask };
  throw new ConfigError(
    'Expected a BERT vocabulary with the word [MASK] for training, got the byte pairs of a CLIP. Set data.vocabulary to a vocab.txt, or leave it out.',
  );
}

function* cleaned(captions: Iterable<string>, clean: TextCleaning, maxWords: number): Iterable<string> {
  for (const caption of captions) yield cleanCaption(caption, clean, maxWords);
}
