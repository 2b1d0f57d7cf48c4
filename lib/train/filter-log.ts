/** The lines of filtered.jsonl, pairs that the momentum filter dropped (DESIGN 5), and of scores.jsonl, all pairs (`amf.log: all`). */
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

export interface ScoredPair {
  readonly id: string;
  readonly score: number;
  readonly kept: boolean;
  readonly step: number;
}

/** Every pair of a step with what the filter decided, from the step on at which it is active; `ids` in batch order. */
export function scoredPairs(metrics: NativeStepMetrics, ids: readonly string[]): ScoredPair[] {
  if (!metrics.filterActive) return [];
  return ids.map((id, row) => ({
    id,
    score: metrics.scores[row] as number,
    kept: metrics.kept[row] !== 0,
    step: metrics.step,
  }));
}
