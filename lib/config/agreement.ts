/** Rules between keys: what each value allows, but together cannot be. */
import { ConfigError } from '../errors.js';
import type { ModelConfig, TrainConfig } from './schema.js';

/** What a config is read for: `plan` and `bench` need neither data nor a trained image tokenizer. */
export type Purpose = 'train' | 'tokenizer' | 'plan' | 'bench';

/** Throws `ERR_COTS_CONFIG` where the sizes of a network do not agree. */
export function checkModel({ image, text }: ModelConfig): void {
  require(image.size % image.patch === 0, () => {
    const near = Math.max(1, Math.round(image.size / image.patch)) * image.patch;
    return `Expected \`model.image.size\` to be a multiple of model.image.patch (${image.patch}), got ${image.size}. Use ${near}.`;
  });
  for (const [name, { width, heads }] of [
    ['image', image],
    ['text', text],
  ] as const) {
    require(width % heads === 0, () => {
      const near = Math.max(1, Math.round(width / heads)) * heads;
      return `Expected \`model.${name}.width\` to be a multiple of model.${name}.heads (${heads}), got ${width}. Use ${near}.`;
    });
  }
}

/** Throws `ERR_COTS_CONFIG` where the keys of a run do not agree. */
export function checkRun(config: TrainConfig, purpose: Purpose): void {
  checkText(config);
  if (purpose === 'tokenizer') checkTokenizerTraining(config);
  else checkPreTraining(config, purpose);
  require(purpose === 'plan' || purpose === 'bench' || config.data.train.length > 0, () =>
    'Expected `data.train` to name the training pairs, got nothing. Set data.train=FILE: a manifest, a Karpathy file or a folder of images with captions.');
}

function checkText({ model, data }: TrainConfig): void {
  require(model.text.maxPositions >= data.textMaxLen, () =>
    `Expected \`model.text.maxPositions\` to be at least data.textMaxLen (${data.textMaxLen}), got ${model.text.maxPositions}. Raise it, or lower data.textMaxLen.`);
}

/** Throws `ERR_COTS_CONFIG` for CLIP's parts, which serve embedding and evaluation (SPEC 6.1), and for one tower alone. */
export function checkTrainable({ image, text, towers }: ModelConfig): void {
  require(towers === 'both', () =>
    `Expected \`model.towers\` to be both for training, got '${towers}'. Leave it out.`);
  const parts: [string, unknown, unknown][] = [
    ['image.activation', image.activation, 'gelu'],
    ['text.activation', text.activation, 'gelu'],
    ['image.inputNorm', image.inputNorm, false],
    ['text.norm', text.norm, 'post'],
    ['text.causal', text.causal, false],
  ];
  for (const [key, value, trained] of parts) {
    require(value === trained, () =>
      `Expected \`model.${key}\` to be ${trained} for training, got ${value}: CLIP's towers embed and are evaluated here, they are not trained. Leave it out.`);
  }

  require(text.pool !== 'last', () =>
    "Expected `model.text.pool` to be cls or mean for training, got last: CLIP's towers embed and are evaluated here, they are not trained. Leave it out.");
}

function checkPreTraining(config: TrainConfig, purpose: Purpose): void {
  const { loss, token, queue, train, amf, model } = config;
  const { instance, cmvm, cmlm, task } = loss.weights;
  checkTrainable(model);
  require(instance + cmvm + cmlm + task > 0, () =>
    'Expected one of `loss.weights.*` to be above 0, got none: nothing would be trained. Set loss.weights.instance=1.');
  require(purpose !== 'train' || cmvm === 0 || token.tokenizer !== null, () =>
    `Expected \`token.tokenizer\` to be the folder of a trained discrete VAE while loss.weights.cmvm is ${cmvm}, got null. ` +
    'Train one with `cots train-tokenizer --config FILE token.tokenizer=DIR`, or set loss.weights.cmvm=0.');
  require(train.accumulate <= train.batchSize, () =>
    `Expected \`train.accumulate\` to be at most train.batchSize (${train.batchSize}), got ${train.accumulate}. Use ${train.batchSize} or less.`);
  require(!(queue.includeBatchKeys && train.accumulate > 1), () =>
    `Expected \`train.accumulate\` to be 1 with queue.includeBatchKeys, got ${train.accumulate}: a micro-batch does not see the keys of the others. Set one of them back.`);
  require(amf.minValid === null || amf.minValid <= queue.size, () =>
    `Expected \`amf.minValid\` to be at most queue.size (${queue.size}), got ${amf.minValid}: the filter would never start. Use ${queue.size} or null.`);
  const masked = cmvm + cmlm > 0 && token.fusion !== 'none';
  require(!masked ||
    token.fusion !== 'add' ||
    token.globalSource !== 'hidden' ||
    model.image.width === model.text.width, () =>
    `Expected \`model.text.width\` to equal model.image.width (${model.image.width}) with token.fusion add and token.globalSource hidden, got ${model.text.width}. ` +
    'Make them equal, or set token.globalSource=embed.');
  require(model.embedDim > 0 || model.image.width === model.text.width, () =>
    `Expected \`model.embedDim\` to be above 0 where the towers' widths differ (${model.image.width} and ${model.text.width}), got 0. Set model.embedDim=256.`);
}

function checkTokenizerTraining({ tokenizer }: TrainConfig): void {
  const { size, temperatureMin, temperatureStart, arch, pixels, reconstruction } = tokenizer;
  require(size === null || size % 8 === 0, () =>
    `Expected \`tokenizer.size\` to be a multiple of 8, got ${size}. Use ${Math.max(8, Math.round((size ?? 8) / 8) * 8)}.`);
  require(temperatureMin <= temperatureStart, () =>
    `Expected \`tokenizer.temperatureMin\` to be at most tokenizer.temperatureStart (${temperatureStart}), got ${temperatureMin}. Lower it.`);
  require(reconstruction !== 'logit_laplace' || (arch === 'openai' && pixels === 'map_pixels'), () =>
    `Expected \`tokenizer.reconstruction\` logit_laplace only with tokenizer.arch=openai and tokenizer.pixels=map_pixels, got ${arch} and ${pixels}. Set reconstruction=mse.`);
}

function require(holds: boolean, message: () => string): void {
  if (!holds) throw new ConfigError(message());
}
