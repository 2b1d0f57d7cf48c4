/**
 * How a batch of draws comes together on one rank or several. Of the first round, a full batch, each rank prepares its contiguous
 * slice; what failed is told to all, and the rank that had it prepares the next draw in its place, round by round. So a
 * batch holds the first good draws of the sampler's order with any number of ranks, each rank has as many of them as its slice,
 * and none waits for a draw that another one has given up.
 */
import { CotsError, type CotsErrorCode } from '../errors.js';
import { type Peers, sliceOf } from './peers.js';
import type { Cursor, Draw, Sampler } from './sampler.js';

/** What preparing gives: at once or later; a bad item gives its failure, anything else that fails rejects. */
export type Result<T> = T | Failed | Promise<T | Failed>;

export interface Failed {
  readonly failure: unknown;
}

export interface DrawParts<T> {
  readonly sampler: Sampler;
  readonly peers: Peers;
  /** Draws of a full batch of all ranks. */
  readonly batchSize: number;
  /** This rank's draws prepared ahead of the one that is needed next. */
  readonly lookahead: number;
  readonly prepare: (draw: Draw) => Result<T>;
}

export interface Round<T> {
  /** All ranks' draws, in order. */
  readonly draws: readonly Draw[];
  /** Why a draw failed, by its place in the round. */
  readonly failures: ReadonlyMap<number, unknown>;
  /** The ranks whose draws failed, in order: those that prepare the next round. */
  readonly missing: readonly number[];
  /** This rank's draws that did not fail. */
  readonly own: readonly (Draw & { readonly prepared: T })[];
}

/** A draw of some rank; those of this one are prepared ahead. */
interface Pending<T> {
  readonly draw: Draw;
  readonly after: Cursor;
  result?: Result<T>;
}

/** A failure as ranks tell one another. */
interface Told {
  readonly at: number;
  readonly code: string;
  readonly message: string;
}

export class DrawRounds<T extends object> {
  readonly #parts: DrawParts<T>;
  readonly #pending: Pending<T>[] = [];
  #cursor: Cursor;
  #closed = false;

  constructor(parts: DrawParts<T>) {
    this.#parts = parts;
    this.#cursor = parts.sampler.cursor;
  }

  /** After the last round. */
  get cursor(): Cursor {
    return this.#cursor;
  }

  /** Prepares nothing more: rounds to come are empty on this rank, which still answers the others. */
  close(): void {
    this.#closed = true;
  }

  /** The rank of each draw of a full batch. */
  get owners(): readonly number[] {
    return Array.from({ length: this.#parts.peers.world }, (_, rank) => {
      const { begin, end } = sliceOf(this.#parts.batchSize, { world: this.#parts.peers.world, rank });
      return Array.from({ length: end - begin }, () => rank);
    }).flat();
  }

  /** The next draws, each prepared by the rank named. */
  async next(owners: readonly number[]): Promise<Round<T>> {
    const size = owners.length;
    const own: (Draw & { prepared: T })[] = [];
    const failures = new Map<number, unknown>();
    for await (const { at, draw, prepared } of this.#own(owners)) {
      if ('failure' in prepared) failures.set(at, prepared.failure);
      else own.push({ ...draw, prepared });
    }

    const told = await this.#parts.peers.gather([...failures].map(([at, error]) => tell(at, error)));
    for (const { at, code, message } of told.flat())
      if (!failures.has(at)) failures.set(at, new CotsError(code as CotsErrorCode, message));
    this.#drawAt(size - 1);
    const draws = this.#pending.splice(0, size);
    this.#cursor = (draws.at(-1) as Pending<T>).after;
    const missing = owners.filter((_, at) => failures.has(at));
    return { draws: draws.map(({ draw }) => draw), failures, missing, own };
  }

  /** This rank's draws of a round, in order, while those after them are prepared. */
  async *#own(owners: readonly number[]): AsyncGenerator<{ at: number; draw: Draw; prepared: T | Failed }> {
    const likely = this.#likely(owners);
    for (let count = 0; count < this.#parts.lookahead && !this.#closed; count++)
      this.#prepareAt(likely.next().value);
    for (const [at, owner] of owners.entries()) {
      if (owner !== this.#parts.peers.rank || this.#closed) continue;
      this.#prepareAt(likely.next().value);
      const { draw, result } = this.#drawAt(at) as Required<Pending<T>>;
      yield { at, draw, prepared: result instanceof Promise ? await result : result };
    }
  }

  /** Places of the draws to come that will be this rank's, unless some fail: those of the round, then its slices of full batches. */
  *#likely(owners: readonly number[]): Generator<number, never> {
    const { peers, batchSize } = this.#parts;
    for (const [at, owner] of owners.entries()) if (owner === peers.rank) yield at;
    const { begin, end } = sliceOf(batchSize, peers);
    for (let start = owners.length; ; start += batchSize)
      for (let at = begin; at < end; at++) yield start + at;
  }

  #drawAt(at: number): Pending<T> {
    const { sampler } = this.#parts;
    while (this.#pending.length <= at) this.#pending.push({ draw: sampler.next(), after: sampler.cursor });
    return this.#pending[at] as Pending<T>;
  }

  #prepareAt(at: number): void {
    const pending = this.#drawAt(at);
    pending.result ??= this.#parts.prepare(pending.draw);
  }
}

function tell(at: number, failure: unknown): Told {
  const { code, message } = failure as CotsError;
  return { at, code, message };
}
