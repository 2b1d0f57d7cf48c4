/** Joins the pair of pieces that occurs most often, again and again. */
import { continuation } from './tokenizer-json.js';

/** A word as its pieces, and how often it occurs. */
export interface CountedWord {
  readonly pieces: string[];
  readonly count: number;
}

interface Pair {
  readonly left: string;
  readonly right: string;
  count: number;
  /** Words that had the pair when they were last cut; some may not have it any more. */
  readonly words: Set<number>;
}

/**
 * The pieces made by joining, in order, `limit` at most; a pair is joined while it occurs `minCount` times. Of equal counts
 * the pair that sorts first is taken. The pieces of `words` are changed.
 */
export function mergePieces(words: readonly CountedWord[], limit: number, minCount: number): string[] {
  const pairs = new Map<string, Pair>();
  for (const [index, word] of words.entries()) countPairs(pairs, word, index, 1);
  const heap = new PairHeap(pairs.values());
  const made: string[] = [];
  const known = new Set<string>();
  while (made.length < limit) {
    const best = heap.pop();
    if (best === undefined || best.count < minCount) break;
    const joined = best.left + best.right.slice(continuation.length);
    if (!known.has(joined)) made.push(joined);
    known.add(joined);
    const touched = new Set<Pair>();
    for (const index of best.words) join(words[index] as CountedWord, index, best, joined, pairs, touched);
    for (const pair of touched) if (pair !== best && pair.count > 0) heap.push(pair);
  }

  return made;
}

function join(
  word: CountedWord,
  index: number,
  pair: Pair,
  joined: string,
  pairs: Map<string, Pair>,
  touched: Set<Pair>,
): void {
  const { pieces } = word;
  if (!pieces.some((piece, at) => piece === pair.left && pieces[at + 1] === pair.right)) return;
  for (const changed of countPairs(pairs, word, index, -1)) touched.add(changed);
  for (let at = 0; at + 1 < pieces.length; at++) {
    if (pieces[at] === pair.left && pieces[at + 1] === pair.right) pieces.splice(at, 2, joined);
  }

  for (const changed of countPairs(pairs, word, index, 1)) touched.add(changed);
}

function countPairs(
  pairs: Map<string, Pair>,
  { pieces, count }: CountedWord,
  index: number,
  sign: 1 | -1,
): Pair[] {
  const changed: Pair[] = [];
  for (let at = 0; at + 1 < pieces.length; at++) {
    const left = pieces[at] as string;
    const right = pieces[at + 1] as string;
    const key = `${left}\u0000${right}`;
    const pair = pairs.get(key) ?? { left, right, count: 0, words: new Set<number>() };
    pairs.set(key, pair);
    pair.count += sign * count;
    if (sign > 0) pair.words.add(index);
    changed.push(pair);
  }

  return changed;
}

/** A binary heap of pairs by count at the time they were pushed; an entry whose count has changed since is passed over. */
class PairHeap {
  readonly #entries: { readonly pair: Pair; readonly count: number }[] = [];

  constructor(pairs: Iterable<Pair>) {
    for (const pair of pairs) this.push(pair);
  }

  push(pair: Pair): void {
    const entries = this.#entries;
    entries.push({ pair, count: pair.count });
    let at = entries.length - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(at, parent)) break;
      this.#swap(at, parent);
      at = parent;
    }
  }

  pop(): Pair | undefined {
    for (;;) {
      const [top] = this.#entries;
      if (top === undefined) return undefined;
      this.#removeTop();
      if (top.pair.count === top.count && top.count > 0) return top.pair;
    }
  }

  #removeTop(): void {
    const entries = this.#entries;
    const last = entries.pop();
    if (entries.length === 0 || last === undefined) return;
    entries[0] = last;
    let at = 0;
    for (;;) {
      let first = at;
      for (const child of [2 * at + 1, 2 * at + 2])
        if (child < entries.length && this.#before(child, first)) first = child;
      if (first === at) return;
      this.#swap(at, first);
      at = first;
    }
  }

  #before(a: number, b: number): boolean {
    const first = this.#entries[a] as { pair: Pair; count: number };
    const second = this.#entries[b] as { pair: Pair; count: number };
    if (first.count !== second.count) return first.count > second.count;
    if (first.pair.left !== second.pair.left) return first.pair.left < second.pair.left;
    return first.pair.right < second.pair.right;
  }

  #swap(a: number, b: number): void {
    const kept = this.#entries[a] as { pair: Pair; count: number };
    this.#entries[a] = this.#entries[b] as { pair: Pair; count: number };
    this.#entries[b] = kept;
  }
}
