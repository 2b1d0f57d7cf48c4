/** The loop: batch k + 1 is loaded while native step k runs; evaluations and checkpoints in between. */
import type { NativeStepMetrics } from '../binding.js';
import type { TrainConfig } from '../config/schema.js';
import { CotsError } from '../errors.js';
import { embedSplit } from '../evaluate/embed-split.js';
import { textsAnImage } from '../evaluate/protocols.js';
import { evaluateRetrieval, type RetrievalResult } from '../evaluate/retrieval.js';
import { Cots } from '../model/cots.js';
import type { PendingCalls } from '../native-call.js';
import type { LoadedBatch } from './batch-source.js';
import type { PreparedRun } from './prepare-run.js';
import type { RunRecorder } from './run-recorder.js';
import type { TrainEvent } from './trainer.js';

type Events = AsyncGenerator<TrainEvent, void, undefined>;

/** The events of a run from where it stands to its end. */
export async function* trainingEvents(
  run: PreparedRun,
  recorder: RunRecorder,
  calls: PendingCalls,
  signal: AbortSignal | undefined,
): Events {
  let failed = false;
  try {
    await recorder.open();
    yield* run.takeWarnings();
    if (!isAborted(signal)) await prefill(run, recorder, calls, signal);
    yield* steps(run, recorder, calls, signal);
  } catch (error) {
    failed = true;
    throw error;
  } finally {
    try {
      // Reached with steps unsaved only when the consumer left the loop.
      if (!failed && recorder.unsaved && !calls.disposed) await recorder.saveCheckpoint();
    } finally {
      await recorder.close();
    }
  }
}

async function* steps(
  run: PreparedRun,
  recorder: RunRecorder,
  calls: PendingCalls,
  signal: AbortSignal | undefined,
): Events {
  const { checkpoint, evaluate } = run.config;
  let badImages = 0;
  while (recorder.step < run.totalSteps && !isAborted(signal)) {
    const start = performance.now();
    const loaded = await unlessAborted(signal, () => calls.run(undefined, () => run.loader.next(signal)));
    if (loaded === undefined) break;
    const native = await calls.run(undefined, () => run.native.step({ batch: loaded.batch, cancel: null }));
    const metrics = await recorder.addStep(native, loaded, (performance.now() - start) / 1000);
    yield { type: 'step', ...metrics };
    yield* warningsOf(native, loaded);
    if (loaded.badImages > badImages)
      yield warning(
        'WARN_COTS_BAD_IMAGE',
        `${loaded.badImages} images cannot be used so far; bad-images.jsonl lists them.`,
      );
    badImages = Math.max(badImages, loaded.badImages);
    const stopped = stopError(native, run.config);
    if (stopped !== undefined) throw stopped;

    const { step } = recorder;
    const last = step === run.totalSteps;
    const evaluating = run.validation.length > 0 && (last || isDue(step, evaluate.everySteps));
    // Before the evaluation, so that one that fails loses no step.
    if (last || evaluating || isDue(step, checkpoint.everySteps))
      yield { type: 'checkpoint', step, path: await recorder.saveCheckpoint() };
    if (!evaluating || isAborted(signal)) continue;
    const result = await unlessAborted(signal, () => validate(run, calls, signal));
    if (result === undefined) continue;
    await recorder.addEvaluation(result);
    yield { type: 'evaluation', step, result };
  }

  if (recorder.unsaved)
    yield { type: 'checkpoint', step: recorder.step, path: await recorder.saveCheckpoint() };
  yield { type: 'end', step: recorder.step, reason: recorder.step >= run.totalSteps ? 'done' : 'aborted' };
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

function isDue(step: number, every: number): boolean {
  return every > 0 && step % every === 0;
}

/** Fills the queue by the momentum towers before the first step, with a sampler of its own (SPEC 3.8). */
async function prefill(
  run: PreparedRun,
  recorder: RunRecorder,
  calls: PendingCalls,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!run.config.queue.prefill || recorder.step > 0) return;
  const batches = Math.ceil(run.config.queue.size / run.config.train.batchSize);
  const loader = run.openPrefillLoader();
  try {
    for (let count = 0; count < batches && !isAborted(signal); count++) {
      const loaded = await unlessAborted(signal, () => calls.run(undefined, () => loader.next(signal)));
      if (loaded === undefined) return;
      await calls.run(undefined, () => run.native.prefill({ batch: loaded.batch, cancel: null }));
    }
  } finally {
    loader.close();
  }
}

/** Retrieval on the validation pairs by the online towers as they are. Rejects `signal.reason` on abort. */
async function validate(
  run: PreparedRun,
  calls: PendingCalls,
  signal: AbortSignal | undefined,
): Promise<RetrievalResult> {
  const { description, tokenizer, native, config } = run;
  const model = new Cots({ description, tokenizer, native: native.snapshot({ momentum: false }) });
  try {
    return await calls.run(undefined, async () => {
      const embedded = await embedSplit(model, run.validation, {
        captionsPerImage: textsAnImage(config.evaluate.protocol),
        frames: config.evaluate.frames,
        signal,
      });
      const { protocol } = config.evaluate;
      return evaluateRetrieval({ ...embedded, protocol, ...(signal === undefined ? {} : { signal }) });
    });
  } finally {
    model.dispose();
  }
}

function* warningsOf(
  native: NativeStepMetrics,
  { ids }: LoadedBatch,
): Generator<TrainEvent, void, undefined> {
  const { step, skipped, nonFiniteInRow, nonFiniteKeys, collapsedSteps } = native;
  if (nonFiniteInRow > 0) {
    yield warning(
      'WARN_COTS_NON_FINITE',
      `Step ${step} was not taken: a feature, loss or gradient was not finite (${nonFiniteInRow} in a row). The ids are in non-finite.jsonl.`,
    );
  } else if (skipped) {
    yield warning(
      'WARN_COTS_ALL_FILTERED',
      `Step ${step} was not taken: the filter dropped all ${ids.length} pairs. Raise amf.k or set amf.minKeepFrac.`,
    );
  }

  if (nonFiniteKeys > 0)
    yield warning(
      'WARN_COTS_NON_FINITE_KEY',
      `Step ${step}: ${nonFiniteKeys} momentum keys were not finite and were not queued. The ids are in non-finite.jsonl.`,
    );
  if (collapsedSteps === 1)
    yield warning(
      'WARN_COTS_COLLAPSE',
      `Step ${step}: the queue's scores have no spread (std < 1e-6): every pair is kept, and after 100 such steps the run stops.`,
    );
}

function warning(code: string, message: string): TrainEvent {
  return { type: 'warning', code, message };
}

/** Why no step may follow this one, which is counted and recorded. */
function stopError(native: NativeStepMetrics, { guard }: TrainConfig): CotsError | undefined {
  const { stop, step, nonFiniteInRow, collapsedSteps } = native;
  if (stop === 'non_finite')
    return new CotsError(
      'ERR_COTS_NON_FINITE',
      `Expected finite features, losses and gradients, got NaN or infinity up to step ${step}, ${nonFiniteInRow} in a row (guard.maxNonFinite ${guard.maxNonFinite}). The ids are in non-finite.jsonl. Lower optim.lr or raise loss.tau, and resume from an earlier checkpoint.`,
    );
  if (stop === 'collapsed')
    return new CotsError(
      'ERR_COTS_COLLAPSED',
      `Expected the queue's scores to spread, got a standard deviation below 1e-6 up to step ${step}, ${collapsedSteps} in a row: the towers have collapsed. Lower optim.lr and start anew, or check that images and captions vary.`,
    );
  return undefined;
}

/** What `work` gives, or undefined when the signal ended it. */
async function unlessAborted<T>(
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (isAborted(signal) && error === signal?.reason) return undefined;
    throw error;
  }
}
