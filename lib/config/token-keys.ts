/** Keys of the masked parts and of the image tokenizer: `token` and `tokenizer` (SPEC 2.3, 4.5). */
import { choice, flag, integer, interval, number, optionalInteger, optionalPath, section } from './key.js';

export const tokenKeys = section({
  maskImage: section({
    ratio: number(0.4, 'Share of the patches that CMVM masks.', { above: true, max: 0.99 }),
    mode: choice(['block', 'random'], 'block', 'Blocks as BEiT draws them, or single patches.'),
    exact: flag(false, 'Top up with single patches to exactly round(ratio * patches).'),
  }),
  maskText: section({
    ratio: number(0.15, 'Share of the words that CMLM predicts: 80 % masked, 10 % random, 10 % kept.', {
      above: true,
      max: 0.99,
    }),
  }),
  passes: choice(
    ['separate', 'shared'],
    'separate',
    'A clean and a masked pass, or one masked pass for all losses.',
  ),
  globalSource: choice(
    ['hidden', 'embed', 'momentum'],
    'hidden',
    'Global state of the paired item that the masked states are summed with.',
  ),
  fusion: choice(
    ['add', 'concat', 'none'],
    'add',
    'How the paired global state joins a masked state; `none` is the uni-modal ablation.',
  ),
  headImage: choice(
    ['mlp', 'bare'],
    'mlp',
    'Prediction head of CMVM: Linear, GELU, LayerNorm, Linear, or a bare Linear.',
  ),
  tokenizer: optionalPath(
    'Folder of a trained discrete VAE (`cots train-tokenizer`); needed while `loss.weights.cmvm` is above 0.',
  ),
  vocab: integer(
    8192,
    'Codes of the discrete VAE that `cots train-tokenizer` makes; a trained one brings its own number.',
    { min: 2, max: 65536 },
  ),
});

export const tokenizerKeys = section({
  arch: choice(
    ['small', 'openai'],
    'small',
    "Network of the discrete VAE: the small trainable one (SPEC 4.5) or OpenAI's (SPEC 4.1).",
  ),
  hidden: integer(256, 'First width of the network.', { min: 4, max: 4096 }),
  codebookDim: integer(
    512,
    "Width of a codebook row (`small`), or of the decoder's first layer (`openai`: 128).",
    { min: 1, max: 8192 },
  ),
  blocks: integer(2, 'Residual blocks: in all (`small`), or a group (`openai`).', { min: 0, max: 64 }),
  pixels: choice(
    ['mean_std_half', 'map_pixels'],
    'mean_std_half',
    'Pixels as the network takes them: (x - 0.5) / 0.5, or 0.8 x + 0.1.',
  ),
  reconstruction: choice(['mse', 'smooth_l1', 'logit_laplace'], 'mse', 'Reconstruction loss.'),
  temperatureStart: number(1, 'Gumbel-softmax temperature of the first step.', { above: true, max: 100 }),
  temperatureMin: number(0.5, 'Lowest temperature.', { above: true, max: 100 }),
  temperatureRate: number(0.001, 'Decay a step: temperature = max(min, start * exp(-rate * step)).', {
    max: 1,
  }),
  klWeight: number(1e-3, 'Weight of the mean KL to the uniform distribution a position.', {}),
  klWarmupSteps: integer(0, 'Steps over which the KL weight rises from 0.'),
  size: optionalInteger(
    'Side of the training images in pixels, a multiple of 8; null: 8 * model.image.size / model.image.patch.',
    { min: 8, max: 4096 },
  ),
  batchSize: optionalInteger('Images of one step; null: `train.batchSize`.', { min: 1, max: 1_000_000 }),
  steps: optionalInteger('Steps; null: those of `train.steps` or `train.epochs`.', { min: 1 }),
  lr: number(1e-3, 'Learning rate of Adam.', { above: true, max: 10 }),
  lrDecay: number(0.98, 'Factor on the rate every 100 steps; 1: cosine decay instead.', {
    above: true,
    max: 1,
  }),
  clipGrad: number(3, 'Largest global gradient norm; 0: no clipping.'),
  crop: interval([0.5, 1], "Share of the image's area that a training crop covers."),
  out: optionalPath('Folder to write; null: `token.tokenizer`, or else `train.out`.'),
});
