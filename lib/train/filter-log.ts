/** The line of filtered.jsonl: a pair that the momentum filter dropped (DESIGN 5). */
import type { NativeStepMetrics } from '../binding.js';

export interface FilteredPair {
  /** The manifest's id. */
  readonly id: string;
  /** Dot product of the pair's momentum embeddings. */
  readonly score: number;
  readonly threshold: number;
  readonly step: number;
}

/** The dropped pairs of a step; `ids` in batch order. */
export function filteredPairs(metrics: NativeStepMetrics, ids: readonly string[]): FilteredPair[] {
  if (!metrics.filterActive) return [];
  return ids.flatMap((id, row) => {
    const score = metrics.scores[row] as number;
    if (metrics.kept[row] !== 0 || !Number.isFinite(score)) return [];
    return [{ id, score, threshold: metrics.filterThreshold, step: metrics.step }];
  });
}
