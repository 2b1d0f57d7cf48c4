/** A step that ran out of memory: what was learned is saved, and the error says what to lower. */
import type { TrainConfig } from '../config/schema.js';
import { CotsError } from '../errors.js';
import type { RunRecorder } from './run-recorder.js';

export function isOutOfMemory(error: unknown): error is CotsError {
  return error instanceof CotsError && error.code === 'ERR_COTS_MEMORY';
}

/**
 * Writes a checkpoint of the last whole step, which the failed one left as it was; the error to throw. With several ranks
 * nothing is written: the others are in the middle of the step and cannot take part.
 */
export async function saveAfterOutOfMemory(
  error: CotsError,
  config: TrainConfig,
  recorder: RunRecorder,
  ranks: number,
): Promise<CotsError> {
  const saved =
    ranks > 1
      ? 'The last checkpoint of the run stands.'
      : await save(recorder).catch(notSaved(recorder.step));
  return new CotsError('ERR_COTS_MEMORY', `${describeStep(config)} ${saved} ${advice(config)}`, {
    cause: error,
  });
}

async function save(recorder: RunRecorder): Promise<string> {
  await recorder.finishCheckpoint(true);
  if (recorder.step === 0) return 'No step was done yet.';
  if (!recorder.unsaved) return `Step ${recorder.step} is in the last checkpoint.`;
  await recorder.beginCheckpoint();
  const saved = await recorder.finishCheckpoint(true);
  return `Step ${recorder.step} is saved${saved === undefined ? '' : ` in ${saved.path}`}.`;
}

const notSaved = (step: number) => (error: Error) =>
  `A checkpoint of step ${step} could not be written: ${error.message}`;

function describeStep({ train, model }: TrainConfig): string {
  const { batchSize, accumulate, device } = train;
  const memory =
    device === 'cpu' ? `, with ${gibibytes(process.memoryUsage().rss)} in use by this process` : '';
  return `Expected memory on '${device}' for a step of ${batchSize} pairs in ${accumulate} micro-batch${accumulate === 1 ? '' : 'es'} at ${model.image.size} pixels, ran out of it${memory}.`;
}

/** What changes nothing but the time of a step comes first; micro-batches also change the order of sums. */
function advice({ train }: TrainConfig): string {
  const { batchSize, accumulate, checkpointing } = train;
  const sameBits =
    checkpointing === 'full' ? '' : 'Go on with train.checkpointing=full, which changes no number. Or: ';
  const smaller =
    accumulate < batchSize
      ? `Set train.accumulate=${Math.min(batchSize, 2 * accumulate)}, or lower train.batchSize, model.image.size or queue.size`
      : 'Lower train.batchSize, model.image.size or queue.size';
  return `${sameBits}${smaller}, in a new run whose train.init is that checkpoint: a resumed run keeps these settings.`;
}

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
