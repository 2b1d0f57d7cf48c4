/** How well the momentum filter found the mismatched captions: its decisions of the last epoch against the manifest's truth. */
import { readFile } from 'node:fs/promises';

/** A line of the run's scores.jsonl. */
type ScoredPair = { readonly id: string; readonly score: number; readonly kept: boolean };

export interface FilterReport {
  /** Pairs of the last epoch whose captions belong to another image. */
  readonly mismatched: number;
  readonly kept: number;
  readonly dropped: number;
  /** Share of the dropped pairs that are mismatched. */
  readonly precision: number;
  /** Share of the mismatched pairs that were dropped. */
  readonly recall: number;
  /** Probability that a matched pair scores above a mismatched one; 0.5 = no better than chance, null = pairs of one kind only. */
  readonly auc: number | null;
}

/** The last decision on each pair: the last epoch, whatever its first step was. */
export async function readLastDecisions(file: string): Promise<Map<string, ScoredPair>> {
  const last = new Map<string, ScoredPair>();
  for (const line of (await readFile(file, 'utf8')).split('\n')) {
    if (line === '') continue;
    const pair = JSON.parse(line) as ScoredPair;
    last.set(pair.id, pair);
  }
  return last;
}

/** `mismatched` holds the ids whose captions were swapped. */
export function judgeFilter(decisions: Iterable<ScoredPair>, mismatched: ReadonlySet<string>): FilterReport {
  const pairs = [...decisions];
  const wrong = pairs.filter(({ id }) => mismatched.has(id));
  const dropped = pairs.filter(({ kept }) => !kept);
  const found = dropped.filter(({ id }) => mismatched.has(id)).length;
  return {
    mismatched: wrong.length,
    kept: pairs.length - dropped.length,
    dropped: dropped.length,
    precision: dropped.length === 0 ? 0 : found / dropped.length,
    recall: wrong.length === 0 ? 0 : found / wrong.length,
    auc: areaUnderCurve(pairs, mismatched),
  };
}

/** Mann-Whitney's statistic: mean rank of the matched pairs among all, ties at their middle rank. */
function areaUnderCurve(pairs: readonly ScoredPair[], mismatched: ReadonlySet<string>): number | null {
  const sorted = [...pairs].sort((a, b) => a.score - b.score);
  let rankSum = 0;
  let matched = 0;
  for (let begin = 0; begin < sorted.length; ) {
    let end = begin + 1;
    while (end < sorted.length && sorted[end]?.score === sorted[begin]?.score) end++;
    const middle = (begin + 1 + end) / 2;
    for (const { id } of sorted.slice(begin, end)) {
      if (mismatched.has(id)) continue;
      rankSum += middle;
      matched++;
    }
    begin = end;
  }
  const others = sorted.length - matched;
  if (matched === 0 || others === 0) return null;
  return (rankSum - (matched * (matched + 1)) / 2) / (matched * others);
}
