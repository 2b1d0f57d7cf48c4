/** The files that a run adds a line to with every step; the first rank writes them. */
import type { NativeStepMetrics } from '../binding.js';
import type { TrainConfig } from '../config/schema.js';
import type { RetrievalResult } from '../evaluate/retrieval.js';
import { filteredPairs, scoredPairs } from './filter-log.js';
import type { Metrics } from './metrics.js';
import type { RunFolder } from './run-folder.js';
import { StepLog } from './step-log.js';
import { TensorboardLog } from './tensorboard-log.js';

export class RunLogs {
  readonly #metrics: StepLog;
  readonly #filtered: StepLog;
  readonly #nonFinite: StepLog;
  /** Only with `amf.log: all`. */
  readonly #scores: StepLog | undefined;
  /** Only with `train.tensorboard`. */
  readonly #tensorboard: TensorboardLog | undefined;

  constructor(folder: RunFolder, { amf, train }: TrainConfig) {
    this.#metrics = new StepLog(folder.file('metrics.jsonl'));
    this.#filtered = new StepLog(folder.file('filtered.jsonl'));
    this.#nonFinite = new StepLog(folder.file('non-finite.jsonl'));
    this.#scores = amf.log === 'all' ? new StepLog(folder.file('scores.jsonl')) : undefined;
    this.#tensorboard = train.tensorboard ? new TensorboardLog(folder.file('tensorboard')) : undefined;
  }

  /** Opens them, cut back to a step. */
  async openAt(step: number): Promise<void> {
    for (const log of this.#all()) await log.openAt(step);
  }

  async close(): Promise<void> {
    for (const log of this.#all()) await log.close();
  }

  async addStep(line: Metrics, native: NativeStepMetrics, ids: readonly string[]): Promise<void> {
    await this.#metrics.append([line]);
    await this.#filtered.append(filteredPairs(native, ids));
    await this.#scores?.append(scoredPairs(native, ids));
    await this.#nonFinite.append(nonFiniteLines(native, ids));
    await this.#tensorboard?.addStep(line);
  }

  async addEvaluation(step: number, result: RetrievalResult): Promise<void> {
    await this.#tensorboard?.addEvaluation(step, result);
  }

  #all(): (StepLog | TensorboardLog)[] {
    const logs = [this.#metrics, this.#filtered, this.#nonFinite];
    return [...logs, this.#scores, this.#tensorboard].filter((log) => log !== undefined);
  }
}

/** The pairs of a step that was not taken because a number was not finite, or whose momentum key was not. */
function nonFiniteLines(native: NativeStepMetrics, ids: readonly string[]): object[] {
  const { step, nonFiniteInRow, nonFiniteKeys } = native;
  if (nonFiniteInRow === 0 && nonFiniteKeys === 0) return [];
  const keys = ids.filter((_, row) => !Number.isFinite(native.scores[row] as number));
  return [{ step, skipped: nonFiniteInRow > 0, ids: nonFiniteInRow > 0 ? ids : [], non_finite_keys: keys }];
}
