/** From a Hugging Face ViT folder and a BERT folder to a model folder (SPEC 6.1 to 6.3). Without a projection to load, the embedding is the normalized CLS state. */
import path from 'node:path';
import { binding } from '../binding.js';
import * as check from '../checks.js';
import { resolveModelConfig } from '../config/load.js';
import { nativeModelConfig } from '../config/native.js';
import type { ModelConfig } from '../config/schema.js';
import { TextTokenizer } from '../data/text/tokenizer.js';
import { CheckpointError, CotsError } from '../errors.js';
import { callSite, fromSite } from '../native-call.js';
import { exists, kindOf, readJson } from '../read-file.js';
import { refuseForeign } from '../write-file.js';
import {
  exactRatio,
  type ImageRules,
  type ModelDescription,
  modelFiles,
  readImageRules,
} from './config-file.js';
import { Fields } from './json-fields.js';
import { writeModelFolder } from './model-folder.js';

export interface ImportOptions {
  /** Folder of a ViT: config.json, model.safetensors, preprocessor_config.json. */
  readonly image: string;
  /** Folder of a BERT: config.json, model.safetensors, tokenizer.json or vocab.txt. */
  readonly text: string;
  /** Model folder to write. */
  readonly out: string;
  /** Image side in pixels; positions are interpolated (bicubic) where it differs. @default the ViT's own */
  readonly imageSize?: number;
  /** Tokens of a text at most, [CLS] and [SEP] included. @default 40 */
  readonly textMaxLength?: number;
}

export interface ImportResult {
  readonly config: ModelConfig;
  /** Parameters that the files do not have and that are new: the mask token, which only training uses. */
  readonly missing: string[];
  /** Tensors of the files that the model does not have, such as the pooler. */
  readonly unused: string[];
}

const defaultTextLength = 40;
// What ViTImageProcessor does where preprocessor_config.json is absent.
const processorDefaults: ImageRules = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], filter: 'bilinear' };

/** Rejects `ERR_COTS_CHECKPOINT` for another architecture, a pickled file, or tensors that are missing or of another shape. */
export async function importHuggingFace(options: ImportOptions): Promise<ImportResult> {
  const site = callSite(importHuggingFace);
  return fromSite(site, async () => {
    check.options('importHuggingFace', options, ['image', 'text', 'out', 'imageSize', 'textMaxLength']);
    const image = check.text('image', options.image);
    const text = check.text('text', options.text);
    const out = check.text('out', options.out);
    await refuseForeign(out, 'a model', modelFiles.weights, ['trainer.json', 'state.safetensors']);
    const imageFile = await weightsFile(image);
    const textFile = await weightsFile(text);
    const config = resolveModelConfig({
      image: await visionSizes(image, options.imageSize),
      text: await languageSizes(text),
      pool: 'cls',
      embedDim: 0,
    });
    const maxLength = check.integer(
      'textMaxLength',
      options.textMaxLength ?? Math.min(defaultTextLength, config.text.maxPositions),
      3,
      config.text.maxPositions,
    );
    const tokenizer = await TextTokenizer.load(text);
    const description: ModelDescription = {
      config,
      image: await imageRules(image),
      text: { maxLength, clean: 'none', maxWords: 0 },
    };
    let missing: string[] = [];
    let unused: string[] = [];
    await writeModelFolder(out, description, tokenizer, async (file) => {
      const found = await binding().importHuggingFace({
        config: nativeModelConfig(config),
        imageFile,
        textFile,
        out: file,
      });
      missing = found.missing;
      unused = found.unused;
    });
    return { config, missing, unused };
  });
}

async function weightsFile(folder: string): Promise<string> {
  const file = path.join(folder, modelFiles.weights);
  if ((await kindOf(file)) === 'file') return file;
  const convert =
    'Convert it with transformers: `AutoModel.from_pretrained(FOLDER).save_pretrained(FOLDER, safe_serialization=True)`.';
  if (await exists(path.join(folder, 'pytorch_model.bin'))) {
    throw new CheckpointError(
      `Expected ${folder} to hold model.safetensors, got pytorch_model.bin, a pickle, which can run code when it is read and is never opened here. ${convert}`,
    );
  }

  if (await exists(path.join(folder, `${modelFiles.weights}.index.json`))) {
    throw new CotsError(
      'ERR_COTS_NOT_IMPLEMENTED',
      `Expected ${folder} to hold one model.safetensors, got shards. Save it in one piece: max_shard_size='100GB' in save_pretrained.`,
    );
  }

  throw new CheckpointError(
    `Expected ${folder} to hold model.safetensors, found none. Name the folder that transformers' save_pretrained wrote.`,
  );
}

async function readConfig(
  folder: string,
  modelType: string,
  must: Readonly<Record<string, unknown>>,
): Promise<Fields> {
  const file = path.join(folder, 'config.json');
  const fields = new Fields(file, await readJson(file));
  for (const [key, value] of Object.entries({ model_type: modelType, hidden_act: 'gelu', ...must })) {
    const found = fields.value(key);
    if (found !== value && (found !== undefined || key === 'model_type')) {
      throw new CheckpointError(
        `Expected "${key}" in ${file} to be ${String(value)}, got ${JSON.stringify(found)}. Only plain ViT and BERT can be brought in.`,
      );
    }
  }

  return fields;
}

async function visionSizes(folder: string, size: number | undefined) {
  const fields = await readConfig(folder, 'vit', { num_channels: 3, qkv_bias: true });
  return {
    arch: 'custom' as const,
    size: size === undefined ? fields.number('image_size') : check.integer('imageSize', size, 1, 4096),
    patch: fields.number('patch_size'),
    ...sizes(fields),
    dropPath: 0,
  };
}

async function languageSizes(folder: string) {
  const fields = await readConfig(folder, 'bert', { position_embedding_type: 'absolute', is_decoder: false });
  return {
    arch: 'custom' as const,
    vocabSize: fields.number('vocab_size'),
    maxPositions: fields.number('max_position_embeddings'),
    ...sizes(fields),
    dropout: fields.number('hidden_dropout_prob'),
  };
}

function sizes(fields: Fields): {
  width: number;
  layers: number;
  heads: number;
  mlpRatio: number;
  layerNormEps: number;
} {
  const width = fields.number('hidden_size');
  return {
    width,
    layers: fields.number('num_hidden_layers'),
    heads: fields.number('num_attention_heads'),
    mlpRatio: exactRatio(fields.number('intermediate_size'), width),
    layerNormEps: fields.number('layer_norm_eps'),
  };
}

async function imageRules(folder: string): Promise<ImageRules> {
  const file = path.join(folder, modelFiles.preprocessor);
  return (await exists(file)) ? readImageRules(file, processorDefaults) : processorDefaults;
}
