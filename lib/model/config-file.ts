/**
 * `config.json` and `preprocessor_config.json` of a model folder. The towers are sub-objects with Hugging Face's keys, so that
 * they read as ViT and BERT; what those do not know (pooling, projection, text rules) stands beside them.
 */
import path from 'node:path';
import { checkModel } from '../config/agreement.js';
import { type ModelConfig, modelSchema, type TrainConfig } from '../config/schema.js';
import { type CaptionRules, captionRules } from '../data/text/captions.js';
import { CheckpointError } from '../errors.js';
import type { ResizeFilter } from '../ops.js';
import { readJson } from '../read-file.js';
import { Fields } from './json-fields.js';

/** How an image becomes the input of the vision tower. */
export interface ImageRules {
  /** Per channel of pixels in [0, 1]. */
  readonly mean: [number, number, number];
  readonly std: [number, number, number];
  readonly filter: ResizeFilter;
}

/** All that `config.json` and `preprocessor_config.json` say. */
export interface ModelDescription {
  readonly config: ModelConfig;
  readonly image: ImageRules;
  readonly text: CaptionRules;
}

/** The model that a training config describes. */
export function describedModel(config: TrainConfig): ModelDescription {
  const { imageNorm, filter } = config.data;
  return {
    config: config.model,
    image: { mean: imageNorm.mean, std: imageNorm.std, filter },
    text: captionRules(config),
  };
}

/** Names of the files of a model folder. */
export const modelFiles = {
  config: 'config.json',
  weights: 'model.safetensors',
  tokenizer: 'tokenizer.json',
  preprocessor: 'preprocessor_config.json',
} as const;

// Pillow's numbers of the filters, as preprocessor_config.json has them.
const resampleNumbers: Readonly<Record<ResizeFilter, number>> = { lanczos: 1, bilinear: 2, bicubic: 3 };

/** The contents of the two files, as JSON text. */
export function describeModel(description: ModelDescription): { config: string; preprocessor: string } {
  const { config, text } = description;
  const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
  return {
    config: json({
      model_type: 'cots',
      format_version: 1,
      architectures: ['CotsModel'],
      projection_dim: config.embedDim,
      pool: config.pool,
      vision_config: describeVision(config.image),
      text_config: describeText(config.text),
      text_max_length: text.maxLength,
      text_clean: text.clean,
      text_max_words: text.maxWords,
    }),
    preprocessor: json(describePreprocessing(description)),
  };
}

function describeVision(image: ModelConfig['image']): object {
  return {
    model_type: 'vit',
    arch: image.arch,
    image_size: image.size,
    patch_size: image.patch,
    num_channels: 3,
    ...describeTrunk(image),
    drop_path_rate: image.dropPath,
  };
}

function describeText(text: ModelConfig['text']): object {
  return {
    model_type: 'bert',
    arch: text.arch,
    vocab_size: text.vocabSize,
    max_position_embeddings: text.maxPositions,
    ...describeTrunk(text),
    hidden_dropout_prob: text.dropout,
  };
}

function describeTrunk({
  width,
  layers,
  heads,
  mlpRatio,
  layerNormEps,
}: ModelConfig['image'] | ModelConfig['text']): object {
  return {
    hidden_size: width,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    intermediate_size: Math.floor(width * mlpRatio),
    mlp_ratio: mlpRatio,
    hidden_act: 'gelu',
    layer_norm_eps: layerNormEps,
  };
}

function describePreprocessing({ config, image }: ModelDescription): object {
  return {
    image_processor_type: 'ViTImageProcessor',
    do_convert_rgb: true,
    do_resize: true,
    size: { height: config.image.size, width: config.image.size },
    resample: resampleNumbers[image.filter],
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: image.mean,
    image_std: image.std,
  };
}

/** Reads a model folder's two files. Throws `ERR_COTS_CHECKPOINT` that names the file and key, `ERR_COTS_FILE`. */
export async function readModelDescription(directory: string): Promise<ModelDescription> {
  const configFile = path.join(directory, modelFiles.config);
  const file = new Fields(configFile, await readJson(configFile));
  if (file.text('model_type') !== 'cots') {
    throw new CheckpointError(
      `Expected "model_type" in ${configFile} to be cots, got ${file.text('model_type')}. Bring a Hugging Face model in with \`cots import hf\`.`,
    );
  }

  const parsed = modelSchema.safeParse(modelSizes(file));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new CheckpointError(
      `Expected ${configFile} to describe a model, got at ${issue?.path.join('.')}: ${issue?.message}. Restore the file from its source.`,
    );
  }

  checkSizes(parsed.data, configFile);
  return {
    config: parsed.data,
    image: await readImageRules(path.join(directory, modelFiles.preprocessor)),
    text: {
      maxLength: file.whole('text_max_length', 3, parsed.data.text.maxPositions),
      clean: file.oneOf('text_clean', ['none', 'albef']),
      maxWords: file.whole('text_max_words', 0, Number.MAX_SAFE_INTEGER),
    },
  };
}

/** What sizes must be of each other, such as a width that the heads divide. */
function checkSizes(config: ModelConfig, file: string): void {
  try {
    checkModel(config);
  } catch (error) {
    throw new CheckpointError(`${(error as Error).message} (It is in ${file}.)`, { cause: error });
  }
}

function modelSizes(file: Fields): object {
  const vision = file.section('vision_config');
  const language = file.section('text_config');
  return {
    image: {
      arch: vision.value('arch') ?? 'custom',
      size: vision.number('image_size'),
      patch: vision.number('patch_size'),
      ...towerSizes(vision),
      dropPath: vision.value('drop_path_rate'),
    },
    text: {
      arch: language.value('arch') ?? 'custom',
      vocabSize: language.number('vocab_size'),
      maxPositions: language.number('max_position_embeddings'),
      ...towerSizes(language),
      dropout: language.value('hidden_dropout_prob'),
    },
    pool: file.text('pool'),
    embedDim: file.number('projection_dim'),
  };
}

function towerSizes(tower: Fields): {
  width: number;
  layers: number;
  heads: number;
  mlpRatio: number;
  layerNormEps: number;
} {
  const width = tower.number('hidden_size');
  return {
    width,
    layers: tower.number('num_hidden_layers'),
    heads: tower.number('num_attention_heads'),
    mlpRatio:
      (tower.value('mlp_ratio') as number | undefined) ??
      exactRatio(tower.number('intermediate_size'), width),
    layerNormEps: tower.number('layer_norm_eps'),
  };
}

/** A ratio whose product with the width, rounded down, is the feed-forward width. */
export function exactRatio(feedForward: number, width: number): number {
  const ratio = feedForward / width;
  return Math.floor(width * ratio) === feedForward ? ratio : (feedForward + 0.5) / width;
}

/** Reads mean, deviation and filter of a `preprocessor_config.json`, ours or Hugging Face's; a key that is absent has its `fallback`. */
export async function readImageRules(file: string, fallback?: ImageRules): Promise<ImageRules> {
  const fields = new Fields(file, await readJson(file));
  const absent = (key: string): boolean => fallback !== undefined && fields.value(key) === undefined;
  const normalizes = fields.value('do_normalize') !== false;
  const mean = (): ImageRules['mean'] =>
    absent('image_mean') && fallback !== undefined ? fallback.mean : fields.channels('image_mean');
  const std = (): ImageRules['std'] =>
    absent('image_std') && fallback !== undefined ? fallback.std : fields.deviations('image_std');
  return {
    mean: normalizes ? mean() : [0, 0, 0],
    std: normalizes ? std() : [1, 1, 1],
    filter:
      absent('resample') && fallback !== undefined
        ? fallback.filter
        : filterOf(file, fields.number('resample')),
  };
}

function filterOf(file: string, resample: number): ResizeFilter {
  const filter = (Object.keys(resampleNumbers) as ResizeFilter[]).find(
    (name) => resampleNumbers[name] === resample,
  );
  if (filter === undefined) {
    throw new CheckpointError(
      `Expected "resample" in ${file} to be 1 (lanczos), 2 (bilinear) or 3 (bicubic), got ${resample}.`,
    );
  }

  return filter;
}
