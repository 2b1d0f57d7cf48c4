/** What a run leaves on disk: logs, checkpoints, the links, and where it stands. */
import type { NativeStepMetrics } from '../binding.js';
import type { RetrievalResult } from '../evaluate/retrieval.js';
import type { LoadedBatch } from './batch-source.js';
import { type CheckpointState, writeBest, writeCheckpoint } from './checkpoint.js';
import { filteredPairs, scoredPairs } from './filter-log.js';
import { type Metrics, metricsLine } from './metrics.js';
import type { PreparedRun } from './prepare-run.js';
import { StepLog } from './step-log.js';
import { TensorboardLog } from './tensorboard-log.js';

export class RunRecorder {
  readonly #run: PreparedRun;
  readonly #metrics: StepLog;
  readonly #filtered: StepLog;
  readonly #nonFinite: StepLog;
  /** Only with `amf.log: all`. */
  readonly #scores: StepLog | undefined;
  /** Only with `train.tensorboard`. */
  readonly #tensorboard: TensorboardLog | undefined;
  #step: number;
  #saved: number;
  #cursor: unknown;
  #best: CheckpointState['best'];

  constructor(run: PreparedRun) {
    this.#run = run;
    this.#metrics = new StepLog(run.folder.file('metrics.jsonl'));
    this.#filtered = new StepLog(run.folder.file('filtered.jsonl'));
    this.#nonFinite = new StepLog(run.folder.file('non-finite.jsonl'));
    this.#scores = run.config.amf.log === 'all' ? new StepLog(run.folder.file('scores.jsonl')) : undefined;
    this.#tensorboard = run.config.train.tensorboard
      ? new TensorboardLog(run.folder.file('tensorboard'))
      : undefined;
    this.#step = run.start.step;
    this.#saved = run.start.step;
    this.#cursor = run.start.cursor;
    this.#best = run.start.best;
  }

  get step(): number {
    return this.#step;
  }

  /** Whether steps were done since the last checkpoint. */
  get unsaved(): boolean {
    return this.#step > this.#saved;
  }

  /** Opens the logs, cut back to the step at which the run stands. */
  async open(): Promise<void> {
    for (const log of this.#logs()) await log.openAt(this.#step);
  }

  async close(): Promise<void> {
    for (const log of this.#logs()) await log.close();
  }

  #logs(): (StepLog | TensorboardLog)[] {
    const logs = [this.#metrics, this.#filtered, this.#nonFinite];
    return [...logs, this.#scores, this.#tensorboard].filter((log) => log !== undefined);
  }

  /** Notes a step that was done. `seconds` is its wall time, loading included. */
  async addStep(native: NativeStepMetrics, loaded: LoadedBatch, seconds: number): Promise<Metrics> {
    this.#step = native.step;
    this.#cursor = loaded.cursor;
    const line = metricsLine(
      native,
      seconds,
      this.#run.flopsPerPair(meanTokens(loaded)) / this.#run.peakFlops,
    );
    await this.#metrics.append([line]);
    await this.#filtered.append(filteredPairs(native, loaded.ids));
    await this.#scores?.append(scoredPairs(native, loaded.ids));
    await this.#nonFinite.append(nonFiniteLines(native, loaded.ids));
    await this.#tensorboard?.addStep(line);
    return line;
  }

  /** Notes an evaluation of the checkpoint just written: the best so far is pointed to, and kept. */
  async addEvaluation(result: RetrievalResult): Promise<void> {
    const { rsum } = result;
    await this.#tensorboard?.addEvaluation(this.#step, result);
    if (this.#best !== null && rsum <= this.#best.rsum) return;
    this.#best = { step: this.#step, rsum };
    await writeBest(this.#run.folder.checkpoint(this.#step), this.#best);
    await this.#pointAndPrune();
  }

  /** Writes a checkpoint of the step at which the run stands, points the links, deletes old ones. Returns its folder. */
  async saveCheckpoint(): Promise<string> {
    const { folder, config, data, tokenizerHash, description, tokenizer, native } = this.#run;
    const directory = folder.checkpoint(this.#step);
    const state = { step: this.#step, cursor: this.#cursor, config, data, tokenizerHash, best: this.#best };
    await writeCheckpoint(directory, state, { description, tokenizer, trainer: native });
    this.#saved = this.#step;
    await this.#pointAndPrune();
    return directory;
  }

  /** In this order no link dangles: `best` may still point to a checkpoint of a step that the run went back from. */
  async #pointAndPrune(): Promise<void> {
    const { folder, config } = this.#run;
    const best = this.#best?.step ?? null;
    await folder.point('latest', this.#step);
    await folder.point('best', best);
    await folder.prune(config.checkpoint.keep, this.#step, best);
  }
}

/** The pairs of a step that was not taken because a number was not finite, or whose momentum key was not. */
function nonFiniteLines(native: NativeStepMetrics, ids: readonly string[]): object[] {
  const { step, nonFiniteInRow, nonFiniteKeys } = native;
  if (nonFiniteInRow === 0 && nonFiniteKeys === 0) return [];
  const keys = ids.filter((_, row) => !Number.isFinite(native.scores[row] as number));
  return [{ step, skipped: nonFiniteInRow > 0, ids: nonFiniteInRow > 0 ? ids : [], non_finite_keys: keys }];
}

/** Tokens of a caption on average, without padding. */
function meanTokens({ batch }: LoadedBatch): number {
  return batch.lengths.reduce((sum, length) => sum + length, 0) / batch.size;
}
