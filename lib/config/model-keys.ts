/** Keys of the network: `model` (SPEC 2.1). */
import { channels, choice, flag, integer, number, optionalChoice, optionalPath, section } from './key.js';
import { imageArchitectures, textArchitectures } from './presets.js';

const vit = imageArchitectures.vit_b16;
const bert = textArchitectures.bert_base;
const imageNames = [...Object.keys(imageArchitectures), 'custom'] as [
  keyof typeof imageArchitectures | 'custom',
];
const textNames = [...Object.keys(textArchitectures), 'custom'] as [
  keyof typeof textArchitectures | 'custom',
];

const activation = () =>
  choice(
    ['gelu', 'quick_gelu'],
    'gelu',
    "Of the feed-forward layers: the exact GELU, or CLIP's x * sigmoid(1.702 x), for embedding only.",
  );

const imageKeys = section({
  arch: choice(
    imageNames,
    'vit_b16',
    'Preset that fills the sizes of the vision Transformer; a size written beside it wins. `custom` once a size differs.',
  ),
  size: integer(vit.size, 'Side of the square input in pixels; a multiple of `model.image.patch`.', {
    min: 1,
    max: 4096,
  }),
  patch: integer(vit.patch, 'Side of a patch in pixels.', { min: 1, max: 512 }),
  width: integer(vit.width, 'Width of the residual stream; a multiple of `model.image.heads`.', {
    min: 1,
    max: 16384,
  }),
  layers: integer(vit.layers, 'Transformer layers.', { min: 1, max: 256 }),
  heads: integer(vit.heads, 'Attention heads.', { min: 1, max: 256 }),
  mlpRatio: number(vit.mlpRatio, 'Width of the feed-forward layer over `model.image.width`.', {
    above: true,
    max: 64,
  }),
  dropPath: number(0.1, 'Share of residual branches dropped in training, linear over depth.', { max: 0.99 }),
  layerNormEps: number(1e-6, 'Epsilon of layer normalization.', { above: true, max: 1 }),
  pool: optionalChoice(['cls', 'mean'], 'Global state of this tower; null: `model.pool`.'),
  activation: activation(),
  inputNorm: flag(false, 'Normalize the patches before the first layer, as CLIP does; embedding only.'),
  layerScale: flag(false, 'Multiply each residual branch by a learned vector, as BEiT does.'),
  relativeBias: flag(false, 'Add a learned bias by offset to the attention scores, as BEiT does.'),
  pooledNorm: flag(false, 'Normalize the pooled state in place of every state, as a fine-tuned BEiT does.'),
  init: optionalPath(
    'Hugging Face ViT, DeiT or BEiT folder to take initial weights from (`cots import hf`); null: random.',
  ),
});

const textKeys = section({
  arch: choice(
    textNames,
    'bert_base',
    'Preset that fills the sizes of BERT; a size written beside it wins. `custom` once a size differs.',
  ),
  width: integer(bert.width, 'Width of the residual stream; a multiple of `model.text.heads`.', {
    min: 1,
    max: 16384,
  }),
  layers: integer(bert.layers, 'Transformer layers.', { min: 1, max: 256 }),
  heads: integer(bert.heads, 'Attention heads.', { min: 1, max: 256 }),
  mlpRatio: number(bert.mlpRatio, 'Width of the feed-forward layer over `model.text.width`.', {
    above: true,
    max: 64,
  }),
  vocabSize: integer(30522, 'Rows of the word table; a vocabulary made from the captions is cut to it.', {
    min: 8,
    max: 10_000_000,
  }),
  maxPositions: integer(512, 'Rows of the position table; at least `data.textMaxLen`.', {
    min: 3,
    max: 65536,
  }),
  dropout: number(0.1, 'Hidden dropout in training (attention probabilities are never dropped).', {
    max: 0.99,
  }),
  layerNormEps: number(1e-12, 'Epsilon of layer normalization.', { above: true, max: 1 }),
  pool: optionalChoice(
    ['cls', 'mean', 'last'],
    "Global state of this tower, `last` (CLIP's end of text) for embedding only; null: `model.pool`.",
  ),
  activation: activation(),
  norm: choice(
    ['post', 'pre'],
    'post',
    'Where a layer normalizes: after each sum (BERT), or before each branch (CLIP; embedding only).',
  ),
  causal: flag(false, 'A token sees only itself and those before it (CLIP; embedding only).'),
  init: optionalPath(
    'Hugging Face BERT folder to take initial weights from (`cots import hf`); null: random.',
  ),
});

export const modelShape = {
  image: imageKeys,
  text: textKeys,
  towers: choice(
    ['both', 'image', 'text'],
    'both',
    'The towers that the model has; one of them alone embeds, and cannot be trained.',
  ),
  pool: choice(['cls', 'mean'], 'cls', 'Global state of a tower: the CLS row, or the mean over real tokens.'),
  embedDim: integer(256, 'Width D of the embedding; 0: no projection, the embedding is the pooled state.', {
    max: 65536,
  }),
};

export const imageNormKeys = section({
  mean: channels(
    [0.5, 0.5, 0.5],
    'Mean subtracted from pixels in [0, 1], a channel.',
    'three finite numbers',
    false,
  ),
  std: channels(
    [0.5, 0.5, 0.5],
    'Deviation the pixels are divided by, a channel.',
    'three numbers above 0',
    true,
  ),
});
