/** A vocabulary of made words and captions of them, whose ids need no tokenizer to be known. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { uniform } from '../../lib/bench/synthetic.js';

export interface Caption {
  readonly text: string;
  readonly ids: readonly number[];
}

/** BERT's. */
export const vocabularySize = 30_522;

/** Writes FOLDER/vocab.txt: BERT's special tokens at their usual ids, and words of four letters, of which each is one token. */
export async function writeVocabulary(folder: string): Promise<readonly string[]> {
  const lines = Array.from({ length: vocabularySize }, (_, id) => wordOf(id));
  const specials = { 0: '[PAD]', 100: '[UNK]', 101: '[CLS]', 102: '[SEP]', 103: '[MASK]' };
  for (const [id, token] of Object.entries(specials)) lines[Number(id)] = token;
  await mkdir(folder);
  await writeFile(path.join(folder, 'vocab.txt'), `${lines.join('\n')}\n`);
  return lines;
}

/** 5 to 17 words, every thirtieth caption 38: 13.8 tokens on average with [CLS] and [SEP]. */
export function makeCaptions(words: readonly string[], count: number): Caption[] {
  const random = uniform(count);
  const below = (limit: number): number => Math.floor(random() * limit);
  return Array.from({ length: count }, (_, place) => {
    const length = place % 30 === 29 ? 38 : 5 + below(13);
    const inner = Array.from({ length }, () => 1000 + below(vocabularySize - 1000));
    return { text: inner.map((id) => words[id]).join(' '), ids: [101, ...inner, 102] };
  });
}

function wordOf(id: number): string {
  const letters = [id % 26, Math.floor(id / 26) % 26, Math.floor(id / 676) % 26, Math.floor(id / 17_576)];
  return String.fromCharCode(...letters.map((letter) => 97 + letter));
}
