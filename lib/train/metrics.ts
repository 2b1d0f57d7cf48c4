/** The line of metrics.jsonl (DESIGN 5). */
import type { NativeStepMetrics } from '../binding.js';

/** What a step reports. Losses in nats and unweighted; a loss that is off is 0. */
export interface Metrics {
  step: number;
  /** Pairs of the batch, kept or not. */
  pairs: number;
  /** The weighted sum that was minimized. */
  loss: number;
  loss_image_to_text: number;
  loss_text_to_image: number;
  loss_task: number;
  loss_cmvm: number;
  loss_cmlm: number;
  filter_mean: number;
  filter_std: number;
  filter_threshold: number;
  /** Pairs of this batch that the filter kept; all while it is off. */
  filter_kept: number;
  /** Real pairs in the queue after this step. */
  queue_valid: number;
  lr: number;
  temperature: number;
  momentum: number;
  /** Global norm before clipping. */
  grad_norm: number;
  /** By the wall clock, from the end of the step before. */
  pairs_per_second: number;
  /** Model flops a second (SPEC 8) over the rate of a dense float32 product measured when the run was prepared. */
  mfu: number;
  /** Resident memory of the process. */
  rss_bytes: number;
  /** Most memory that tensors have had on a GPU so far; 0 on a CPU. */
  device_bytes: number;
}

/** A step's native metrics with the wall clock's and the process's. `peakShare`: flops of one pair over the machine's peak. */
export function metricsLine(native: NativeStepMetrics, seconds: number, peakShare: number): Metrics {
  const pairsPerSecond = native.pairs / Math.max(seconds, 1e-9);
  return {
    step: native.step,
    pairs: native.pairs,
    loss: native.loss,
    loss_image_to_text: native.lossImageToText,
    loss_text_to_image: native.lossTextToImage,
    loss_task: native.lossTask,
    loss_cmvm: native.lossCmvm,
    loss_cmlm: native.lossCmlm,
    filter_mean: native.filterMean,
    filter_std: native.filterStd,
    filter_threshold: native.filterThreshold,
    filter_kept: native.filterKept,
    queue_valid: native.queueValid,
    lr: native.lr,
    temperature: native.temperature,
    momentum: native.momentum,
    grad_norm: native.gradNorm,
    pairs_per_second: pairsPerSecond,
    mfu: pairsPerSecond * peakShare,
    rss_bytes: process.memoryUsage.rss(),
    device_bytes: native.deviceBytes,
  };
}
