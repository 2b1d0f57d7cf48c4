/**
 * `config.json` and `preprocessor_config.json` of a model folder. The towers are sub-objects with Hugging Face's keys, so that
 * they read as ViT and BERT; what those do not know (pooling, projection, text rules) stands beside them.
 */
import path from 'node:path';
import { checkModel } from '../config/agreement.js';
import { type ModelConfig, modelSchema, type TrainConfig } from '../config/schema.js';
import { type CaptionRules, captionRules } from '../data/text/captions.js';
import { CheckpointError } from '../errors.js';
import { readJson } from '../read-file.js';
import { describePreprocessing, type ImageRules, readImageRules } from './image-rules.js';
import { Fields } from './json-fields.js';
import { describeText, describeVision, textOf, visionOf } from './tower-config.js';

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
    image: { mean: imageNorm.mean, std: imageNorm.std, filter, resize: null },
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

/** The contents of the two files, as JSON text. A model without an image tower has no preprocessor. */
export function describeModel({ config, image, text }: ModelDescription): {
  config: string;
  preprocessor: string | null;
} {
  const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
  const rules = {
    text_max_length: text.maxLength,
    text_clean: text.clean,
    text_max_words: text.maxWords,
  };
  return {
    config: json({
      model_type: 'cots',
      format_version: 1,
      architectures: ['CotsModel'],
      projection_dim: config.embedDim,
      pool: config.pool,
      ...(config.towers === 'text' ? {} : { vision_config: describeVision(config.image) }),
      ...(config.towers === 'image' ? {} : { text_config: describeText(config.text), ...rules }),
    }),
    preprocessor: config.towers === 'text' ? null : json(describePreprocessing(config.image.size, image)),
  };
}

/** Names of the files that a model with these towers has. */
export function filesOf({ towers }: Pick<ModelConfig, 'towers'>): string[] {
  const absent = { both: undefined, image: modelFiles.tokenizer, text: modelFiles.preprocessor }[towers];
  return Object.values(modelFiles).filter((name) => name !== absent);
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

  const config = parsed.data;
  checkSizes(config, configFile);
  return {
    config,
    image:
      config.towers === 'text'
        ? { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], filter: 'bicubic', resize: null }
        : await readImageRules(path.join(directory, modelFiles.preprocessor), config.image.size),
    text:
      config.towers === 'image'
        ? { maxLength: 3, clean: 'none', maxWords: 0 }
        : {
            maxLength: file.whole('text_max_length', 3, config.text.maxPositions),
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

/** The towers that a config.json has sections of. */
export function towersOf(file: Fields): ModelConfig['towers'] {
  const has = {
    image: file.value('vision_config') !== undefined,
    text: file.value('text_config') !== undefined,
  };
  return has.image === has.text ? 'both' : has.image ? 'image' : 'text';
}

function modelSizes(file: Fields): object {
  const towers = towersOf(file);
  return {
    ...(towers === 'text' ? {} : { image: visionOf(file.section('vision_config')) }),
    ...(towers === 'image' ? {} : { text: textOf(file.section('text_config')) }),
    towers,
    pool: file.text('pool'),
    embedDim: file.number('projection_dim'),
  };
}
