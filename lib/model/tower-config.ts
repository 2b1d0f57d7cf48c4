/** The towers' sections of a model's `config.json`: Hugging Face's keys where it has them, and what makes a tower another than ViT or BERT. */
import { type ModelConfig, modelSchema } from '../config/schema.js';
import type { Fields } from './json-fields.js';

type Vision = ModelConfig['image'];
type Language = ModelConfig['text'];

// Our key and the file's, of what is written only where it is not as in ViT and BERT.
const visionVariants = {
  pool: 'pool',
  inputNorm: 'input_norm',
  layerScale: 'layer_scale',
  relativeBias: 'relative_position_bias',
  pooledNorm: 'pooled_norm',
} as const satisfies Partial<Record<keyof Vision, string>>;
const textVariants = {
  pool: 'pool',
  norm: 'norm',
  causal: 'causal',
} as const satisfies Partial<Record<keyof Language, string>>;

const plain = modelSchema.parse({});

export function describeVision(image: Vision): object {
  return {
    model_type: 'vit',
    arch: image.arch,
    image_size: image.size,
    patch_size: image.patch,
    num_channels: 3,
    ...describeTrunk(image),
    drop_path_rate: image.dropPath,
    ...describeVariants(image, plain.image, visionVariants),
  };
}

export function describeText(text: Language): object {
  return {
    model_type: 'bert',
    arch: text.arch,
    vocab_size: text.vocabSize,
    max_position_embeddings: text.maxPositions,
    ...describeTrunk(text),
    hidden_dropout_prob: text.dropout,
    ...describeVariants(text, plain.text, textVariants),
  };
}

/** What `describeVision` wrote, for the schema to check. */
export function visionOf(file: Fields): object {
  return {
    arch: file.value('arch') ?? 'custom',
    size: file.number('image_size'),
    patch: file.number('patch_size'),
    ...trunkOf(file),
    dropPath: file.value('drop_path_rate'),
    ...variantsOf(file, visionVariants),
  };
}

/** What `describeText` wrote, for the schema to check. */
export function textOf(file: Fields): object {
  return {
    arch: file.value('arch') ?? 'custom',
    vocabSize: file.number('vocab_size'),
    maxPositions: file.number('max_position_embeddings'),
    ...trunkOf(file),
    dropout: file.value('hidden_dropout_prob'),
    ...variantsOf(file, textVariants),
  };
}

/** A ratio whose product with the width, rounded down, is the feed-forward width. */
export function exactRatio(feedForward: number, width: number): number {
  const ratio = feedForward / width;
  return Math.floor(width * ratio) === feedForward ? ratio : (feedForward + 0.5) / width;
}

function describeTrunk({
  width,
  layers,
  heads,
  mlpRatio,
  layerNormEps,
  activation,
}: Vision | Language): object {
  return {
    hidden_size: width,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    intermediate_size: Math.floor(width * mlpRatio),
    mlp_ratio: mlpRatio,
    hidden_act: activation,
    layer_norm_eps: layerNormEps,
  };
}

function trunkOf(file: Fields): object {
  const width = file.number('hidden_size');
  return {
    width,
    layers: file.number('num_hidden_layers'),
    heads: file.number('num_attention_heads'),
    mlpRatio: file.value('mlp_ratio') ?? exactRatio(file.number('intermediate_size'), width),
    activation: file.value('hidden_act'),
    layerNormEps: file.number('layer_norm_eps'),
  };
}

function describeVariants<T extends object>(
  tower: T,
  usual: T,
  names: Readonly<Partial<Record<keyof T, string>>>,
): object {
  const different = (Object.entries(names) as [keyof T, string][]).filter(
    ([key]) => tower[key] !== usual[key],
  );
  return Object.fromEntries(different.map(([key, name]) => [name, tower[key]]));
}

function variantsOf(file: Fields, names: Readonly<Record<string, string>>): object {
  return Object.fromEntries(Object.entries(names).map(([key, name]) => [key, file.value(name)]));
}
