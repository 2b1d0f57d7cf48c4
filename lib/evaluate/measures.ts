/** Figures of a list of 1-based ranks, and what chance gives. */

/** Recall at 1, 5 and 10 in percent. */
export interface Recalls {
  r1: number;
  r5: number;
  r10: number;
}

/** Share of ranks within 1, 5 and 10, in percent. */
export function recalls(ranks: Int32Array): Recalls {
  const at = (k: number): number =>
    (100 * ranks.reduce((hits, rank) => hits + (rank <= k ? 1 : 0), 0)) / ranks.length;
  return { r1: at(1), r5: at(5), r10: at(10) };
}

/** Recalls, median (mean of the two middle ones of an even number) and mean. */
export function measures(ranks: Int32Array): Recalls & { medianRank: number; meanRank: number } {
  const sorted = ranks.slice().sort();
  const middle = sorted.length / 2;
  const low = sorted[Math.ceil(middle) - 1] as number;
  const high = sorted[Math.floor(middle)] as number;
  const meanRank = ranks.reduce((total, rank) => total + rank, 0) / ranks.length;
  return { ...recalls(ranks), medianRank: (low + high) / 2, meanRank };
}

/**
 * Expected recalls of a random order of a gallery, in percent: the mean over the queries of the probability that one of
 * its `positives` is among the first K, 1 - C(gallery - m, K) / C(gallery, K).
 */
export function expectedRecalls(gallery: number, positives: ArrayLike<number>): Recalls {
  const at = (k: number): number => {
    const byCount = new Map<number, number>();
    let total = 0;
    for (let query = 0; query < positives.length; query++) {
      const count = positives[query] as number;
      if (!byCount.has(count)) byCount.set(count, 1 - missProbability(gallery, count, k));
      total += byCount.get(count) as number;
    }

    return (100 * total) / positives.length;
  };
  return { r1: at(1), r5: at(5), r10: at(10) };
}

/** Probability that none of m positives is among the first k of a random order of n. */
function missProbability(n: number, m: number, k: number): number {
  let probability = 1;
  for (let place = 0; place < Math.min(k, n); place++)
    probability *= Math.max(0, n - m - place) / (n - place);
  return probability;
}

/** Field by field mean of records of numbers. */
export function meanOf<T extends object>(rows: readonly T[]): T {
  const first = rows[0] as T;
  const fields = Object.keys(first).map((key) => {
    const total = rows.reduce((sum, row) => sum + (row[key as keyof T] as number), 0);
    return [key, total / rows.length];
  });
  return Object.fromEntries(fields) as T;
}
