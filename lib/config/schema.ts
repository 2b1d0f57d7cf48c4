/** The one schema of the config: every key with its default, rule and sentence (SPEC 2; DESIGN 4). */
import { z } from 'zod';
import { dataKeys } from './data-keys.js';
import { modelShape } from './model-keys.js';
import { tokenizerKeys, tokenKeys } from './token-keys.js';
import {
  checkpointKeys,
  emaKeys,
  evaluateKeys,
  filterKeys,
  guardKeys,
  lossKeys,
  optimKeys,
  queueKeys,
  runKeys,
  schedKeys,
} from './train-keys.js';

export type { DataSource } from './data-keys.js';

/** Schema of `model` alone. */
export const modelSchema = z.strictObject(modelShape);

/** Schema of a whole config. */
export const configSchema = z.strictObject({
  model: modelSchema.prefault({}),
  token: tokenKeys,
  tokenizer: tokenizerKeys,
  queue: queueKeys,
  loss: lossKeys,
  amf: filterKeys,
  ema: emaKeys,
  optim: optimKeys,
  sched: schedKeys,
  train: runKeys,
  data: dataKeys,
  checkpoint: checkpointKeys,
  evaluate: evaluateKeys,
  guard: guardKeys,
});

/** Sizes of the network, complete. */
export type ModelConfig = z.output<typeof modelSchema>;
/** Sizes of the network as a user may give them: what is absent has its default. */
export type ModelConfigInput = z.input<typeof modelSchema>;
/** A whole config, complete: what a training run reads. */
export type TrainConfig = Omit<z.output<typeof configSchema>, 'train'> & {
  train: Omit<z.output<typeof configSchema>['train'], 'precision'> & {
    precision: 'float32' | 'bfloat16' | 'int8';
  };
};
/** A config as a user may give it: what is absent has its default. */
export type TrainConfigInput = z.input<typeof configSchema>;
