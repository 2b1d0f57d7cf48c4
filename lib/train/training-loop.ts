/** The loop: batch k + 1 is loaded while native step k runs; evaluations and checkpoints in between. */
import { embedSplit } from '../evaluate/embed-split.js';
import { textsAnImage } from '../evaluate/protocols.js';
import { evaluateRetrieval, type RetrievalResult } from '../evaluate/retrieval.js';
import { Cots } from '../model/cots.js';
import type { PendingCalls } from '../native-call.js';
import type { PreparedRun } from './prepare-run.js';
import type { RunRecorder } from './run-recorder.js';
import { StepWarnings, stopError } from './step-warnings.js';
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
  const warnings = new StepWarnings();
  while (recorder.step < run.totalSteps && !isAborted(signal)) {
    const start = performance.now();
    const loaded = await unlessAborted(signal, () => calls.run(undefined, () => run.loader.next(signal)));
    if (loaded === undefined) break;
    const native = await calls.run(undefined, () => run.native.step({ batch: loaded.batch, cancel: null }));
    const metrics = await recorder.addStep(native, loaded, (performance.now() - start) / 1000);
    yield { type: 'step', ...metrics };
    yield* warnings.after(native, loaded);
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
