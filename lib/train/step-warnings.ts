/** What a step says that a user should look at, and why a run stops (SPEC 3.8). */
import type { NativeStepMetrics } from '../binding.js';
import type { TrainConfig } from '../config/schema.js';
import { CotsError } from '../errors.js';
import type { LoadedBatch } from './batch-source.js';
import type { TrainEvent } from './trainer.js';

/** Scores of trained towers spread by 0.01 and more; a queue of one score has 1e-7 from rounding. */
const littleSpread = 1e-4;

/** Warnings after each step of a run. One that would come with every step comes once, and again after it has ceased. */
export class StepWarnings {
  #badImages = 0;
  #spreads = true;

  after(native: NativeStepMetrics, { ids, badImages }: LoadedBatch): TrainEvent[] {
    const found = [...this.#notTaken(native, ids), ...this.#spread(native)];
    if (badImages > this.#badImages)
      found.push(
        warning(
          'WARN_COTS_BAD_IMAGE',
          `${badImages} images cannot be used so far; bad-images.jsonl lists them.`,
        ),
      );
    this.#badImages = Math.max(badImages, this.#badImages);
    return found;
  }

  *#notTaken(
    { step, skipped, nonFiniteInRow, nonFiniteKeys }: NativeStepMetrics,
    ids: readonly string[],
  ): Iterable<TrainEvent> {
    if (nonFiniteInRow > 0)
      yield warning(
        'WARN_COTS_NON_FINITE',
        `Step ${step} was not taken: a feature, loss or gradient was not finite (${nonFiniteInRow} in a row). The ids are in non-finite.jsonl.`,
      );
    else if (skipped)
      yield warning(
        'WARN_COTS_ALL_FILTERED',
        `Step ${step} was not taken: the filter dropped all ${ids.length} pairs. Raise amf.k or set amf.minKeepFrac.`,
      );
    if (nonFiniteKeys > 0)
      yield warning(
        'WARN_COTS_NON_FINITE_KEY',
        `Step ${step}: ${nonFiniteKeys} momentum keys were not finite and were not queued. The ids are in non-finite.jsonl.`,
      );
  }

  /** A collapse on its way, and one that is there. */
  *#spread({ step, filterActive, filterStd, collapsedSteps }: NativeStepMetrics): Iterable<TrainEvent> {
    const spreads = !filterActive || filterStd >= littleSpread;
    if (!spreads && this.#spreads)
      yield warning(
        'WARN_COTS_LITTLE_SPREAD',
        `Step ${step}: the queue's scores hardly differ (std ${filterStd.toExponential(1)}): images and texts are about to become one point. Look at filter_std in metrics.jsonl; if it does not grow, lower optim.lr or raise sched.warmupSteps.`,
      );
    this.#spreads = spreads;
    if (collapsedSteps === 1)
      yield warning(
        'WARN_COTS_COLLAPSE',
        `Step ${step}: the queue's scores have no spread (std < 1e-6): every pair is kept, and after 100 such steps the run stops.`,
      );
  }
}

function warning(code: string, message: string): TrainEvent {
  return { type: 'warning', code, message };
}

/** Why no step may follow this one, which is counted and recorded. */
export function stopError(native: NativeStepMetrics, { guard }: TrainConfig): CotsError | undefined {
  const { stop, step, nonFiniteInRow, collapsedSteps } = native;
  if (stop === 'non_finite')
    return new CotsError(
      'ERR_COTS_NON_FINITE',
      `Expected finite features, losses and gradients, got NaN or infinity up to step ${step}, ${nonFiniteInRow} in a row (guard.maxNonFinite ${guard.maxNonFinite}). ` +
        'Look at the pairs of non-finite.jsonl (one that is in every line is the cause) and at grad_norm and temperature in metrics.jsonl before them. Lower optim.lr or raise loss.tau, and resume from an earlier checkpoint.',
    );
  if (stop === 'collapsed')
    return new CotsError(
      'ERR_COTS_COLLAPSED',
      `Expected the queue's scores to spread, got a standard deviation below 1e-6 up to step ${step}, ${collapsedSteps} in a row: the towers have collapsed. Lower optim.lr and start anew, or check that images and captions vary.`,
    );
  return undefined;
}
