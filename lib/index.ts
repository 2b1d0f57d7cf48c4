/** The public interface of the package. */
export type { Matrix } from './binding.js';
export type { ModelConfig, ModelConfigInput, TrainConfig, TrainConfigInput } from './config/schema.js';
export type { Device, Precision } from './device.js';
export * from './errors.js';
export type { Recalls } from './evaluate/measures.js';
export type { Protocol } from './evaluate/protocols.js';
export {
  type DirectionResult,
  type EvaluateRetrievalOptions,
  evaluateRetrieval,
  type RetrievalResult,
} from './evaluate/retrieval.js';
export type { AttentionMap, AttentionOptions, MapMethod } from './model/attention.js';
export { Cots } from './model/cots.js';
export type {
  CreateOptions,
  EmbedOptions,
  ImageOptions,
  LoadOptions,
  VideoEmbeddings,
  VideoOptions,
} from './model/cots-options.js';
export type { EmbeddedBatch, FrameEmbeddings, Item } from './model/embedded-batch.js';
export type { ImageInput } from './model/image-input.js';
export * as ops from './ops.js';
export type { Metrics } from './train/metrics.js';
export { type RunOptions, type TrainEvent, Trainer, type TrainerOptions } from './train/trainer.js';
