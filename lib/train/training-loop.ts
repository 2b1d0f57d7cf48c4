/** The loop: batch k + 1 is loaded while native step k runs; evaluations and checkpoints in between. */
import { setTimeout } from 'node:timers/promises';
import type { PendingCalls } from '../native-call.js';
import { isOutOfMemory, saveAfterOutOfMemory } from './out-of-memory.js';
import type { PreparedRun } from './prepare-run.js';
import type { RunRecorder } from './run-recorder.js';
import { StepWarnings, stopError } from './step-warnings.js';
import type { TrainEvent } from './trainer.js';
import { validate } from './validation.js';

/** Longest wait for the loader of a run that has ended. */
const drainMs = 2000;

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
    await prefill(run, recorder, calls, signal);
    yield* steps(run, recorder, calls, signal);
  } catch (error) {
    failed = true;
    if (!isOutOfMemory(error)) throw error;
    throw await saveAfterOutOfMemory(error, run.config, recorder, run.ranks.world);
  } finally {
    try {
      if (!failed) await saveRest(recorder, calls);
      else if (run.ranks.world === 1) await recorder.finishCheckpoint(true).catch(() => {}); // the first failure is told
    } finally {
      if (run.ranks.world > 1)
        await Promise.race([run.loader.drain(), setTimeout(drainMs, undefined, { ref: false })]);
      await recorder.close();
    }
  }
}

/** Reached with steps unsaved only when the consumer left the loop. */
async function saveRest(recorder: RunRecorder, calls: PendingCalls): Promise<void> {
  if (calls.disposed) return;
  await recorder.finishCheckpoint(true);
  if (!recorder.unsaved) return;
  await recorder.beginCheckpoint();
  await recorder.finishCheckpoint(true);
}

async function* steps(
  run: PreparedRun,
  recorder: RunRecorder,
  calls: PendingCalls,
  signal: AbortSignal | undefined,
): Events {
  const { checkpoint, evaluate } = run.config;
  const warnings = new StepWarnings();
  const waiting = waitSignal(run, signal);
  while (recorder.step < run.totalSteps && !(await anyAborted(run, signal))) {
    yield* finished(recorder, false);
    const start = performance.now();
    const loaded = await unlessAborted(signal, () => calls.run(undefined, () => run.batches.next(waiting)));
    if (loaded === undefined) break;
    const next = recorder.step + 1 < run.totalSteps ? await run.batches.peek(waiting) : undefined;
    const native = await calls.run(undefined, () =>
      run.native.step({ batch: loaded.batch, next: next?.batch ?? null, cancel: null }),
    );
    const metrics = await recorder.addStep(native, loaded, (performance.now() - start) / 1000);
    yield { type: 'step', ...metrics };
    yield* warnings.after(native, loaded);
    const stopped = stopError(native, run.config);
    if (stopped !== undefined) throw stopped;

    const { step } = recorder;
    const last = step === run.totalSteps;
    const evaluating = run.validation.length > 0 && (last || isDue(step, evaluate.everySteps));
    // Before the evaluation, so that one that fails loses no step.
    if (last || evaluating || isDue(step, checkpoint.everySteps)) {
      yield* finished(recorder, true);
      await recorder.beginCheckpoint();
    }

    if (!evaluating || (await anyAborted(run, signal))) continue;
    const result = await unlessAborted(signal, () => validate(run, calls, waiting));
    if (result === undefined) continue;
    yield* finished(recorder, true);
    await recorder.addEvaluation(result);
    yield { type: 'evaluation', step, result };
  }

  yield* finished(recorder, true);
  if (recorder.unsaved) await recorder.beginCheckpoint();
  yield* finished(recorder, true);
  yield { type: 'end', step: recorder.step, reason: recorder.step >= run.totalSteps ? 'done' : 'aborted' };
}

/** The checkpoint that was begun, if it is complete; `wait`: until it is. */
async function* finished(recorder: RunRecorder, wait: boolean): Events {
  const saved = await recorder.finishCheckpoint(wait);
  if (saved !== undefined) yield { type: 'checkpoint', ...saved };
}

/** Ranks stop after the same step: that at which one of them was told to. */
function anyAborted({ ranks }: PreparedRun, signal: AbortSignal | undefined): Promise<boolean> {
  return ranks.any('stop', isAborted(signal));
}

/** What ends a wait at once: with several ranks nothing does, for the others would wait for this one. */
function waitSignal({ ranks }: PreparedRun, signal: AbortSignal | undefined): AbortSignal | undefined {
  return ranks.world === 1 ? signal : undefined;
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
    for (let count = 0; count < batches && !(await anyAborted(run, signal)); count++) {
      const loaded = await unlessAborted(signal, () =>
        calls.run(undefined, () => loader.next(waitSignal(run, signal))),
      );
      if (loaded === undefined) return;
      await calls.run(undefined, () => run.native.prefill({ batch: loaded.batch, cancel: null }));
    }
  } finally {
    loader.close();
  }

  // The run's own loader asks the other ranks on the same connections.
  if (run.ranks.world > 1) await loader.drain();
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
