/** The public trainer: one run of pre-training, its folder and its events. */
import * as check from '../checks.js';
import { snapshotPrecision } from '../config/native.js';
import type { TrainConfig, TrainConfigInput } from '../config/schema.js';
import { StateError } from '../errors.js';
import type { RetrievalResult } from '../evaluate/retrieval.js';
import { Cots } from '../model/cots.js';
import { callSite, fromSite, PendingCalls } from '../native-call.js';
import type { Metrics } from './metrics.js';
import { type PreparedRun, prepareRun } from './prepare-run.js';
import { RunRecorder } from './run-recorder.js';
import { trainingEvents } from './training-loop.js';

/** What `run()` yields; the fields of a step are those of metrics.jsonl. */
export type TrainEvent =
  | ({ type: 'step' } & Metrics)
  | { type: 'evaluation'; step: number; result: RetrievalResult }
  | { type: 'checkpoint'; step: number; path: string }
  | { type: 'warning'; code: string; message: string }
  | { type: 'end'; step: number; reason: 'done' | 'aborted' };

export interface TrainerOptions {
  /** `latest`, or a checkpoint folder to go on from. With `latest` and no checkpoint the run starts anew, with a warning. */
  readonly resume?: 'latest' | (string & {});
}

export interface RunOptions {
  /** On abort the step in progress ends, a checkpoint is written, `end` is yielded, nothing is thrown. */
  readonly signal?: AbortSignal;
}

/**
 * Pre-trains a model as the config says, into the folder `train.out`.
 * @example
 * const trainer = await Trainer.create('configs/demo.yaml');
 * for await (const event of trainer.run()) if (event.type === 'step') console.log(event.step, event.loss);
 */
export class Trainer {
  /** The complete config. */
  readonly config: TrainConfig;
  /** Steps of the whole run. */
  readonly totalSteps: number;
  /** Which of the processes that train together this is, from 0, and how many they are (RANK and WORLD_SIZE). */
  readonly rank: number;
  readonly world: number;
  readonly #run: PreparedRun;
  readonly #recorder: RunRecorder;
  readonly #calls = new PendingCalls('trainer');
  #running = false;
  #hasRun = false;

  /** Use `Trainer.create`. @internal */
  constructor(run: PreparedRun) {
    this.#run = run;
    this.config = run.config;
    this.totalSteps = run.totalSteps;
    this.rank = run.ranks.rank;
    this.world = run.ranks.world;
    this.#recorder = new RunRecorder(run);
  }

  /**
   * Reads config, data and vocabulary, allocates the model, and restores a checkpoint if asked.
   * Rejects `ERR_COTS_CONFIG`, `ERR_COTS_DATA`, `ERR_COTS_FILE`, `ERR_COTS_DEVICE`, `ERR_COTS_CHECKPOINT` for a torn checkpoint or one of
   * another config or other data, and `ERR_COTS_BUSY` while another process (or trainer) writes the folder.
   */
  static async create(
    config: TrainConfigInput | TrainConfig | string,
    options?: TrainerOptions,
  ): Promise<Trainer> {
    const site = callSite(Trainer.create);
    return fromSite(site, async () => {
      check.options('Trainer.create', options, ['resume']);
      const resume = options?.resume === undefined ? undefined : check.text('resume', options.resume);
      return new Trainer(await prepareRun(config, resume));
    });
  }

  /** Steps done so far, those before a resume included. */
  get step(): number {
    return this.#recorder.step;
  }

  /**
   * Trains until the last step. Leaving the loop early (`break`) is an abort: a checkpoint is written.
   * The iteration rejects `ERR_COTS_BUSY` during another run, and after one where several ranks train together, `ERR_COTS_DISPOSED`, `ERR_COTS_NON_FINITE` and `ERR_COTS_COLLAPSED`
   * when the guard stops it, `ERR_COTS_DATA` above `data.maxBadFraction`.
   */
  run(options?: RunOptions): AsyncIterable<TrainEvent> {
    const site = callSite(this.run);
    check.options('run', options, ['signal']);
    const signal = options?.signal;
    if (signal !== undefined && !(signal instanceof AbortSignal)) check.signal(signal);
    return this.#iterate(site, signal);
  }

  async *#iterate(site: Error, signal: AbortSignal | undefined): AsyncGenerator<TrainEvent, void, undefined> {
    await fromSite(site, async () => this.#claim());
    const events = trainingEvents(this.#run, this.#recorder, this.#calls, signal);
    try {
      for (;;) {
        const next = await fromSite(site, () => events.next());
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      try {
        await fromSite(site, () => events.return(undefined));
      } finally {
        this.#running = false;
      }
    }
  }

  /** Check and claim at once, with no await between them: two runs may begin in one turn of the event loop. */
  #claim(): void {
    this.#calls.check();
    if (this.#running)
      throw new StateError(
        'ERR_COTS_BUSY',
        'Expected no run in progress, got a second one. Let the first one end, or abort it.',
      );
    if (this.#hasRun && this.world > 1)
      throw new StateError(
        'ERR_COTS_BUSY',
        'Expected one run() of a trainer of several ranks, which share their data until it ends, got a second one. Dispose it and make another with resume: latest.',
      );
    this.#running = this.#hasRun = true;
  }

  /** The online towers as they are now, as a model of its own: dispose it too. Throws `ERR_COTS_DISPOSED`. */
  model(): Cots {
    this.#calls.check();
    const { description, tokenizer, native } = this.#run;
    return new Cots({
      description,
      tokenizer,
      precision: snapshotPrecision(this.config),
      native: native.snapshot({ momentum: false }),
    });
  }

  /** Frees weights, queues, loader and the folder's lock. A run in progress rejects `ERR_COTS_DISPOSED`. A second call does nothing. */
  dispose(): void {
    if (!this.#calls.dispose()) return;
    this.#run.loader.close();
    this.#run.native.dispose();
    this.#run.ranks.dispose();
    this.#run.lock?.release();
  }
}
