/** Types of the addon (native/addon). Pre-training, and training of an image tokenizer. */
import type { NativeModel } from './embedding.js';
import type { NativeCancel } from './values.js';

/** Mirror of native/train/batch.h; B pairs, N frames of all of them, packed row-major. */
export interface NativeBatch {
  size: number;
  /** int32 [B], frames of each pair; null: every pair has an image, N = B. */
  frames: Int32Array | null;
  /** uint8 [N, S, S, 3]: the frames of pair 0, of pair 1, ... */
  images: Uint8Array;
  /** uint8 [N, V, V, 3], V = 8 * grid; null without CMVM. */
  tokenViews: Uint8Array | null;
  /** int32 [B, L], padded. */
  ids: Int32Array;
  /** int32 [B]. */
  lengths: Int32Array;
  /** Global sample index a pair, exact integers [B]. */
  samples: Float64Array;
  /** Image id a pair, exact integers [B]. */
  imageIds: Float64Array;
  /** Fixed draws for parity with other implementations (uint8 [N, P], int32 [B, L], uint8 [B, L]). */
  overrides?: { imageMask: Uint8Array; maskedIds: Int32Array; textMask: Uint8Array };
}

/** Mirror of native/train/metrics.h, camelCase. */
export interface NativeStepMetrics {
  step: number;
  pairs: number;
  loss: number;
  lossImageToText: number;
  lossTextToImage: number;
  lossTask: number;
  lossCmvm: number;
  lossCmlm: number;
  filterMean: number;
  filterStd: number;
  filterThreshold: number;
  filterKept: number;
  filterActive: boolean;
  queueValid: number;
  lr: number;
  temperature: number;
  momentum: number;
  gradNorm: number;
  skipped: boolean;
  nonFiniteInRow: number;
  nonFiniteKeys: number;
  collapsedSteps: number;
  /** Most on the GPU so far; 0 on a CPU. */
  deviceBytes: number;
  /** Most that the step had in use at once beyond what was there before it, on the host; see native/io/memory.h. */
  activationBytes: number;
  /** Why no step may follow; null when one may. */
  stop: null | 'non_finite' | 'collapsed';
  scores: Float32Array;
  kept: Uint8Array;
  seconds: {
    tokenise: number;
    cleanPass: number;
    maskedPass: number;
    momentum: number;
    losses: number;
    backward: number;
    optimizer: number;
    /** Waiting for other ranks. */
    exchange: number;
  };
}

export interface NativeTokenizerMetrics {
  step: number;
  loss: number;
  reconstruction: number;
  kl: number;
  temperature: number;
  lr: number;
  gradNorm: number;
  perplexity: number;
  /** The gradient was not finite: no update. */
  skipped: boolean;
  deadCodes: number;
  unigramEntropy: number;
}

export interface NativeTrainer {
  /** Runs on the trainer's own thread; a second call before the first settled rejects ERR_COTS_BUSY. */
  step(o: {
    batch: NativeBatch;
    /** The batch after it where it is there already: a GPU gets it while it is at work. */
    next?: NativeBatch | null;
    cancel: NativeCancel | null;
  }): Promise<NativeStepMetrics>;
  prefill(o: { batch: NativeBatch; cancel: NativeCancel | null }): Promise<void>;
  /** model.safetensors (on rank 0) and the rank's state into an existing directory. */
  save(o: { directory: string }): Promise<void>;
  /** The same as the state is now, to be written beside the steps that follow: what they are about to change is copied before. */
  capture(): Promise<NativeCheckpoint>;
  restore(o: { directory: string }): Promise<void>;
  initializeFrom(o: { file: string }): Promise<void>;
  /** A copy of the online (or momentum) towers as they are now. */
  snapshot(o: { momentum: boolean }): Promise<NativeModel>;
  /** Bytes by owner. */
  memory(): { weights: number; optimizer: number; momentum: number; queues: number };
  dispose(): void;
}

/** What one rank writes of a checkpoint. */
export interface NativeCheckpoint {
  /** Into an existing directory; on a thread of its own. Its memory is free afterwards: one call. */
  write(o: { directory: string }): Promise<void>;
}

/** The ranks of a data-parallel run. */
export interface NativeRanks {
  /** The bytes of every rank, by rank. Calls of one channel are the same on every rank, in the same order; the two go side by side. */
  gather(o: { channel: 'loop' | 'data'; bytes: Uint8Array }): Promise<Uint8Array[]>;
  dispose(): void;
}

export interface NativeTokenizerTrainer {
  /** images uint8 [count, size, size, 3]. */
  step(o: {
    images: Uint8Array;
    count: number;
    size: number;
    samples: Float64Array;
    cancel: NativeCancel | null;
  }): Promise<NativeTokenizerMetrics>;
  evaluate(o: { images: Uint8Array; count: number; size: number }): Promise<{ hard: number; soft: number }>;
  /** Writes dvae.safetensors. */
  save(o: { file: string }): Promise<void>;
  dispose(): void;
}
