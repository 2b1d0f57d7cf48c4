/** What a run leaves on disk: logs, checkpoints, the links, and where it stands. With several ranks each has one, and the first writes. */
import type { NativeStepMetrics } from '../binding.js';
import type { RetrievalResult } from '../evaluate/retrieval.js';
import type { LoadedBatch } from './batch-source.js';
import { type CheckpointState, writeBest } from './checkpoint.js';
import { CheckpointWriter } from './checkpoint-writer.js';
import { type Metrics, metricsLine } from './metrics.js';
import type { PreparedRun } from './prepare-run.js';
import { RunLogs } from './run-logs.js';

/** A checkpoint that is complete on disk. */
export interface SavedCheckpoint {
  readonly step: number;
  readonly path: string;
}

export class RunRecorder {
  readonly #run: PreparedRun;
  readonly #logs: RunLogs | undefined;
  readonly #writer: CheckpointWriter;
  #step: number;
  /** Step of the last checkpoint that was begun. */
  #saved: number;
  #cursor: unknown;
  #best: CheckpointState['best'];

  constructor(run: PreparedRun) {
    this.#run = run;
    this.#logs = run.ranks.isFirst ? new RunLogs(run.folder, run.config) : undefined;
    this.#writer = new CheckpointWriter(run);
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
    const { ranks, folder } = this.#run;
    if (ranks.isFirst && this.#step > 0) await folder.noteResume(this.#step);
    await this.#logs?.openAt(this.#step);
  }

  async close(): Promise<void> {
    await this.#logs?.close();
  }

  /** Notes a step that was done. `seconds` is its wall time, loading included. */
  async addStep(native: NativeStepMetrics, loaded: LoadedBatch, seconds: number): Promise<Metrics> {
    this.#step = native.step;
    this.#cursor = loaded.cursor;
    const { flopsPerPair, peakFlops, ranks } = this.#run;
    const line = metricsLine(native, seconds, flopsPerPair(meanTokens(loaded)) / (peakFlops * ranks.world));
    await this.#logs?.addStep(line, native, loaded.ids);
    return line;
  }

  /** Notes an evaluation of the checkpoint just saved: the best so far is pointed to, and kept. */
  async addEvaluation(result: RetrievalResult): Promise<void> {
    const { rsum } = result;
    await this.#logs?.addEvaluation(this.#step, result);
    if (this.#best !== null && rsum <= this.#best.rsum) return;
    this.#best = { step: this.#step, rsum, validation: this.#run.validationHash };
    if (!this.#run.ranks.isFirst) return;
    await writeBest(this.#run.folder.checkpoint(this.#step), this.#best);
    await this.#pointAndPrune(this.#step);
  }

  /** Begins a checkpoint of the step at which the run stands; the one before must be finished. */
  async beginCheckpoint(): Promise<void> {
    const { config, data, tokenizerHash, runId } = this.#run;
    const best = this.#best;
    await this.#writer.begin({
      step: this.#step,
      cursor: this.#cursor,
      config,
      data,
      tokenizerHash,
      best,
      run: runId,
    });
    this.#saved = this.#step;
  }

  /** The checkpoint that was begun, once it is complete: the links are pointed to it and old ones deleted. `wait`: until then. */
  async finishCheckpoint(wait: boolean): Promise<SavedCheckpoint | undefined> {
    const step = await this.#writer.finish(wait);
    if (step === undefined) return undefined;
    if (this.#run.ranks.isFirst) await this.#pointAndPrune(step);
    return { step, path: this.#run.folder.checkpoint(step) };
  }

  /** In this order no link dangles: `best` may still point to a checkpoint of a step that the run went back from. */
  async #pointAndPrune(step: number): Promise<void> {
    const { folder, config } = this.#run;
    const best = this.#best?.step ?? null;
    await folder.point('latest', step);
    await folder.point('best', best);
    await folder.prune(config.checkpoint, step, best);
  }
}

/** Tokens of a caption on average, without padding. */
function meanTokens({ batch }: LoadedBatch): number {
  return batch.size === 0 ? 0 : batch.lengths.reduce((sum, length) => sum + length, 0) / batch.size;
}
