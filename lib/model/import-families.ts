/** The configs of transformers' ViT, DeiT, BEiT, BERT and CLIP as sizes and variants of this project's towers (SPEC 6.1). */
import path from 'node:path';
import type { NativeFamily } from '../binding.js';
import { resolveModelConfig } from '../config/load.js';
import type { ModelConfig, ModelConfigInput } from '../config/schema.js';
import { CheckpointError, ConfigError } from '../errors.js';
import { readJson } from '../read-file.js';
import { modelFiles } from './config-file.js';
import type { ProcessorFamily } from './image-rules.js';
import { Fields } from './json-fields.js';
import { exactRatio } from './tower-config.js';
import type { WeightFiles } from './weight-files.js';

type ImageInput = NonNullable<ModelConfigInput['image']>;
type TextInput = NonNullable<ModelConfigInput['text']>;

/** A tower as its folder describes it. */
export interface FoundTower<T> {
  readonly sizes: T;
  readonly family: NativeFamily;
}

export interface FoundImage extends FoundTower<ImageInput & { size: number }> {
  readonly processor: ProcessorFamily;
}

/** Reads the config.json of a ViT, DeiT or BEiT. Throws `ERR_COTS_CHECKPOINT` that names file and key. */
export async function readImageFamily(folder: string, { names }: WeightFiles): Promise<FoundImage> {
  const fields = await readConfig(folder);
  const type = modelType(fields, folder, ['vit', 'deit', 'beit']);
  expect(fields, folder, { hidden_act: 'gelu', num_channels: 3 });
  const sizes = { ...imageSizes(fields), dropPath: 0 };
  if (type === 'beit') return beit(fields, folder, sizes, names);
  expect(fields, folder, { qkv_bias: true });
  return { sizes, family: 'vit', processor: type };
}

/** Reads the config.json of a BERT. */
export async function readTextFamily(folder: string): Promise<FoundTower<TextInput>> {
  const fields = await readConfig(folder);
  modelType(fields, folder, ['bert']);
  expect(fields, folder, {
    hidden_act: 'gelu',
    position_embedding_type: 'absolute',
    is_decoder: false,
    add_cross_attention: false,
  });
  const sizes = {
    ...textSizes(fields),
    dropout: fields.number('hidden_dropout_prob'),
  };
  return { sizes, family: 'bert' };
}

/** What a CLIP folder's config.json says; `eos` is the id that ends a text, null for the highest there is. */
export interface FoundClip {
  readonly image: ImageInput & { size: number };
  readonly text: TextInput;
  readonly embedDim: number;
  readonly eos: number | null;
}

/** Reads the config.json of a whole CLIP. */
export async function readClipFamily(folder: string): Promise<FoundClip> {
  const fields = await readConfig(folder);
  modelType(fields, folder, ['clip']);
  const vision = fields.section('vision_config');
  const language = fields.section('text_config');
  expect(vision, folder, { num_channels: 3 });
  const eos = fields.section('text_config').value('eos_token_id');
  return {
    image: {
      ...imageSizes(vision, clipDefaults.vision),
      dropPath: 0,
      pool: 'cls',
      activation: activationOf(vision, folder),
      inputNorm: true,
    },
    text: {
      ...textSizes(language, clipDefaults.text),
      dropout: 0,
      pool: 'last',
      activation: activationOf(language, folder),
      norm: 'pre',
      causal: true,
    },
    embedDim: fields.whole('projection_dim', 1, 65_536, 512),
    // 2 is what configs had before transformers 4.31; the model then took the highest id for the end.
    eos: typeof eos !== 'number' || eos === 2 ? null : eos,
  };
}

/** A whole model config, with the file that it is from in messages. */
export function completeConfig(input: ModelConfigInput, folders: readonly string[]): ModelConfig {
  try {
    return resolveModelConfig(input);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const files = folders.map((folder) => path.join(folder, modelFiles.config)).join(' or ');
    throw new CheckpointError(`${error.message} (It is in ${files}.)`, { cause: error });
  }
}

// What CLIP's config classes have for keys that a file leaves out.
const clipDefaults = {
  vision: {
    hidden_size: 768,
    intermediate_size: 3072,
    num_hidden_layers: 12,
    num_attention_heads: 12,
    image_size: 224,
    patch_size: 32,
    layer_norm_eps: 1e-5,
  },
  text: {
    hidden_size: 512,
    intermediate_size: 2048,
    num_hidden_layers: 12,
    num_attention_heads: 8,
    vocab_size: 49_408,
    max_position_embeddings: 77,
    layer_norm_eps: 1e-5,
  },
} as const;

/** Pooled by mean with a norm of its own (fine-tuned), or by the CLS row of normalized states (pre-trained). */
function beit(
  fields: Fields,
  folder: string,
  sizes: ImageInput & { size: number },
  names: ReadonlySet<string>,
): FoundImage {
  const has = (end: string): boolean => [...names].some((name) => name.endsWith(end));
  const requires = (key: string, end: string): boolean => {
    const wanted = fields.value(key) === true;
    if (wanted && !has(end))
      throw new CheckpointError(
        `Expected the weights in ${folder} to hold '${end}', as "${key}" in its config.json says, found none. Fetch the whole model again.`,
      );
    return wanted;
  };
  requires('use_absolute_position_embeddings', 'embeddings.position_embeddings');
  const own = requires(
    'use_relative_position_bias',
    '.attention.relative_position_bias.relative_position_bias_table',
  );
  const shared = requires('use_shared_relative_position_bias', 'relative_position_bias_table');
  const pooledNorm = fields.value('use_mean_pooling') !== false && has('pooler.layernorm.weight');
  return {
    sizes: {
      ...sizes,
      pool: pooledNorm ? 'mean' : 'cls',
      pooledNorm,
      layerScale: Number(fields.value('layer_scale_init_value') ?? 0.1) > 0,
      relativeBias: own || shared,
    },
    family: 'beit',
    processor: 'beit',
  };
}

async function readConfig(folder: string): Promise<Fields> {
  const file = path.join(folder, modelFiles.config);
  return new Fields(file, await readJson(file));
}

function modelType<T extends string>(fields: Fields, folder: string, types: readonly T[]): T {
  const type = fields.value('model_type');
  if (types.includes(type as T)) return type as T;
  const ways: Readonly<Record<string, string>> = {
    clip: ' Bring a whole CLIP in with `cots import clip DIR`.',
    cots: ' That is a model folder of cots already.',
    bert: ' Name a BERT with --text.',
    vit: ' Name a ViT with --image.',
    beit: ' Name a BEiT with --image.',
    deit: ' Name a DeiT with --image.',
  };
  throw new CheckpointError(
    `Expected "model_type" in ${path.join(folder, modelFiles.config)} to be ${types.join(', ')}, got ${JSON.stringify(type)}.${ways[String(type)] ?? ' Other architectures cannot be brought in.'}`,
  );
}

/** Values that a key must have where the file has it. */
function expect(fields: Fields, folder: string, wanted: Readonly<Record<string, unknown>>): void {
  for (const [key, value] of Object.entries(wanted)) {
    const found = fields.value(key);
    if (found !== value && found !== undefined && found !== null) {
      throw new CheckpointError(
        `Expected "${key}" in ${path.join(folder, modelFiles.config)} to be ${String(value)}, got ${JSON.stringify(found)}. Models that differ there cannot be brought in.`,
      );
    }
  }
}

function activationOf(fields: Fields, folder: string): 'gelu' | 'quick_gelu' {
  const found = fields.value('hidden_act') ?? 'quick_gelu';
  if (found === 'gelu' || found === 'quick_gelu') return found;
  throw new CheckpointError(
    `Expected "hidden_act" in ${path.join(folder, modelFiles.config)} to be quick_gelu or gelu, got ${JSON.stringify(found)}. Models that differ there cannot be brought in.`,
  );
}

type Defaults = Readonly<Record<string, number>>;

function imageSizes(fields: Fields, defaults: Defaults = {}) {
  return {
    arch: 'custom' as const,
    size: fields.square('image_size', defaults['image_size']),
    patch: fields.square('patch_size', defaults['patch_size']),
    ...trunkSizes(fields, defaults),
  };
}

function textSizes(fields: Fields, defaults: Defaults = {}) {
  return {
    arch: 'custom' as const,
    vocabSize: fields.number('vocab_size', defaults['vocab_size']),
    maxPositions: fields.number('max_position_embeddings', defaults['max_position_embeddings']),
    ...trunkSizes(fields, defaults),
  };
}

function trunkSizes(fields: Fields, defaults: Defaults) {
  const width = fields.number('hidden_size', defaults['hidden_size']);
  return {
    width,
    layers: fields.number('num_hidden_layers', defaults['num_hidden_layers']),
    heads: fields.number('num_attention_heads', defaults['num_attention_heads']),
    mlpRatio: exactRatio(fields.number('intermediate_size', defaults['intermediate_size']), width),
    layerNormEps: fields.number('layer_norm_eps', defaults['layer_norm_eps']),
  };
}
