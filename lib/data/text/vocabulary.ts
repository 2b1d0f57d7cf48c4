/**
 * A WordPiece vocabulary made from captions: the letters, then the pairs of pieces that occur most often, joined one by one
 * (byte-pair merges, as Hugging Face's WordPiece trainer does), so that frequent words end up whole. Same captions, same result.
 */
import { Tokenizer } from '@huggingface/tokenizers';
import { DataError } from '../../errors.js';
import { mergePieces } from './merges.js';
import { continuation, maxWordLetters, specialWords, tokenizerJson } from './tokenizer-json.js';

export interface VocabularyOptions {
  /** Words at most, the special ones included. */
  readonly size: number;
  /** Times a pair of pieces must occur to be joined. @default 2 */
  readonly minCount?: number;
  /** Letters at most, the most frequent ones; others become [UNK]. @default 1000 */
  readonly letters?: number;
}

const turnEvery = 20_000;

/** Counts words as BERT's tokenizer cuts them: lower case, accents stripped, punctuation and CJK letters apart. */
export class WordCounter {
  readonly counts = new Map<string, number>();
  readonly #known = new Map<string, readonly string[]>();
  readonly #splitter = new Tokenizer(splitterJson(), {});

  /** Counts the words of one caption, already cleaned. */
  add(caption: string): void {
    for (const chunk of caption.split(' ')) {
      for (const word of this.#split(chunk)) this.counts.set(word, (this.counts.get(word) ?? 0) + 1);
    }
  }

  #split(chunk: string): readonly string[] {
    const known = this.#known.get(chunk);
    if (known !== undefined) return known;
    const normal = this.#splitter.normalizer?.normalize(chunk.replaceAll('\u03a3', '\u03c3')) ?? chunk;
    const cut = this.#splitter.pre_tokenizer?.pre_tokenize([normal]) ?? [];
    const words = cut.filter((word: string) => word !== '' && [...word].length <= maxWordLetters);
    this.#known.set(chunk, words);
    return words;
  }
}

/** Counts the words of all captions; the event loop turns in between. */
export async function countWords(captions: Iterable<string>): Promise<Map<string, number>> {
  const counter = new WordCounter();
  let seen = 0;
  for (const caption of captions) {
    counter.add(caption);
    if (++seen % turnEvery === 0) await new Promise(setImmediate);
  }

  return counter.counts;
}

/** The vocabulary in the order of ids: special words, letters, joined pieces. Throws `ERR_COTS_DATA` when nothing fits. */
export function makeVocabulary(
  counts: ReadonlyMap<string, number>,
  { size, minCount = 2, letters = 1000 }: VocabularyOptions,
): string[] {
  const special = Object.values(specialWords);
  const kept = frequentLetters(counts, Math.min(letters, Math.floor((size - special.length) / 2)));
  if (kept.size === 0) {
    throw new DataError(
      `Expected captions with words and a vocabulary of more than ${special.length + 1}, got ${counts.size} words and size ${size}. Give data.vocabulary, or raise model.text.vocabSize.`,
    );
  }

  const words = [...counts].filter(([word]) => [...word].every((letter) => kept.has(letter))).sort(byWord);
  const alphabet = [...new Set(words.flatMap(([word]) => pieces(word)))].sort(byCodeUnits);
  const base = [...special, ...alphabet];
  return [
    ...base,
    ...mergePieces(
      words.map(([word, count]) => ({ pieces: pieces(word), count })),
      size - base.length,
      minCount,
    ),
  ];
}

/** A word as letters: the first as it is, the others as continuations. */
function pieces(word: string): string[] {
  return [...word].map((letter, index) => (index === 0 ? letter : continuation + letter));
}

function frequentLetters(counts: ReadonlyMap<string, number>, limit: number): Set<string> {
  const letters = new Map<string, number>();
  for (const [word, count] of counts)
    for (const letter of word) letters.set(letter, (letters.get(letter) ?? 0) + count);
  const sorted = [...letters].sort((a, b) => b[1] - a[1] || byCodeUnits(a[0], b[0]));
  return new Set(sorted.slice(0, limit).map(([letter]) => letter));
}

function splitterJson(): object {
  return tokenizerJson(Object.values(specialWords), 'no words');
}

function byWord(a: readonly [string, number], b: readonly [string, number]): number {
  return byCodeUnits(a[0], b[0]);
}

function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
