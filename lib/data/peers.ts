/** The ranks that load one batch together, each its slice. */

/** One of several. */
export interface Rank {
  /** In [0, world). */
  readonly rank: number;
  readonly world: number;
}

export interface Peers extends Rank {
  /** The values of all ranks, by rank; plain JSON. One call at a time, the same ones on every rank. */
  gather<T>(value: T): Promise<T[]>;
}

/** A process that loads whole batches. */
export const noPeers: Peers = { rank: 0, world: 1, gather: async (value) => [value] };

/** Rank's contiguous slice of `count` draws: sizes differ by one at most, the first ranks have the larger ones. */
export function sliceOf(count: number, { rank, world }: Rank): { begin: number; end: number } {
  const start = (of: number): number => Math.ceil((count * of) / world);
  return { begin: start(rank), end: start(rank + 1) };
}
