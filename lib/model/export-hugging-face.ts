/** From a model folder to folders that transformers loads: its towers, and the whole where transformers has such a model (SPEC 6.1). */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { binding, type NativeFamily } from '../binding.js';
import * as check from '../checks.js';
import { nativeModelConfig } from '../config/native.js';
import { TextTokenizer } from '../data/text/tokenizer.js';
import { CheckpointError } from '../errors.js';
import { callSite, fromSite } from '../native-call.js';
import { refuseForeign, replaceFolder } from '../write-file.js';
import { type ModelDescription, modelFiles, readModelDescription } from './config-file.js';
import {
  beitConfig,
  bertConfig,
  clipConfig,
  dualConfig,
  imageFamily,
  isClip,
  notDual,
  tokenizerConfig,
  vitConfig,
} from './export-configs.js';
import { describePreprocessing } from './image-rules.js';
import { checkModelFolder, hashModel } from './model-folder.js';

export interface ExportOptions {
  /** Model folder: of `cots train`, `cots import` or `Cots.save`. */
  readonly model: string;
  /** Folder to write. */
  readonly out: string;
}

export interface ExportResult {
  /** What transformers can load, and with which class. */
  readonly models: { readonly folder: string; readonly architecture: string }[];
  /** Why the whole is no model of transformers; null where it is one of `models`. */
  readonly apart: string | null;
}

/** Says what a folder was written from; a folder that has it may be written again. */
const mark = 'export.json';

/**
 * Writes OUT/image (ViTModel or BeitModel), OUT/text (BertModel), and OUT itself where the whole is a VisionTextDualEncoderModel;
 * or OUT alone, a CLIPModel. Rejects `ERR_COTS_CHECKPOINT` for a model that transformers has no class for; nothing is written then.
 */
export async function exportHuggingFace(options: ExportOptions): Promise<ExportResult> {
  const site = callSite(exportHuggingFace);
  return fromSite(site, async () => {
    check.options('exportHuggingFace', options, ['model', 'out']);
    const directory = check.text('model', options.model);
    const out = check.text('out', options.out);
    await refuseForeign(out, 'an export', mark);
    await checkModelFolder(directory);
    const source = await openModel(directory);
    let result: ExportResult | undefined;
    await replaceFolder(out, async (temporary) => {
      result = await (isClip(source.config) ? writeClip(source, temporary) : writeTowers(source, temporary));
      await writeJson(path.join(temporary, mark), { model: await hashModel(directory), ...result });
    });
    const { models, apart } = result as ExportResult;
    return {
      models: models.map(({ folder, architecture }) => ({ folder: path.join(out, folder), architecture })),
      apart,
    };
  });
}

/** A model folder with all that its files say. */
interface Opened extends ModelDescription {
  readonly weights: string;
  readonly tokenizer: TextTokenizer | null;
}

async function openModel(directory: string): Promise<Opened> {
  const description = await readModelDescription(directory);
  const tokenizer =
    description.config.towers === 'image'
      ? null
      : await TextTokenizer.load(path.join(directory, modelFiles.tokenizer));
  return { ...description, weights: path.join(directory, modelFiles.weights), tokenizer };
}

async function writeClip(source: Opened, out: string): Promise<ExportResult> {
  const { config, image } = source;
  const tokenizer = source.tokenizer as TextTokenizer;
  await writeWeights(source, 'clip', out);
  await writeJson(path.join(out, modelFiles.config), clipConfig(config, tokenizer));
  await writeJson(path.join(out, modelFiles.preprocessor), describePreprocessing(config.image.size, image));
  await writeTokenizer(out, tokenizer, source);
  return { models: [{ folder: '.', architecture: 'CLIPModel' }], apart: null };
}

async function writeTowers(source: Opened, out: string): Promise<ExportResult> {
  const { config } = source;
  const models: ExportResult['models'] = [];
  if (config.towers !== 'text')
    models.push({
      folder: 'image',
      architecture: await writeImageTower(source, await subfolder(out, 'image')),
    });
  if (config.towers !== 'image')
    models.push({ folder: 'text', architecture: await writeTextTower(source, await subfolder(out, 'text')) });
  const apart = notDual(config) ?? null;
  if (apart === null) {
    await writeDual(source, out);
    models.unshift({ folder: '.', architecture: 'VisionTextDualEncoderModel' });
  }

  return { models, apart };
}

async function writeImageTower(source: Opened, out: string): Promise<string> {
  const { config, image } = source;
  const family = imageFamily(config);
  if (typeof family !== 'string')
    throw new CheckpointError(
      `Expected a model whose towers transformers has classes for, got one where ${family.reason}. It cannot be exported.`,
    );
  await writeWeights(source, family, out);
  await writeJson(path.join(out, modelFiles.preprocessor), describePreprocessing(config.image.size, image));
  if (family === 'vit') {
    await writeJson(path.join(out, modelFiles.config), vitConfig(config.image));
    return 'ViTModel';
  }

  const header = await binding().readSafetensorsHeader({ file: path.join(out, modelFiles.weights) });
  await writeJson(
    path.join(out, modelFiles.config),
    beitConfig(config.image, new Set(header.map(({ name }) => name))),
  );
  return 'BeitModel';
}

async function writeTextTower(source: Opened, out: string): Promise<string> {
  const { text } = source.config;
  const tokenizer = source.tokenizer as TextTokenizer;
  if (text.norm !== 'post' || text.causal || text.activation !== 'gelu')
    throw new CheckpointError(
      "Expected a model whose towers transformers has classes for, got one where the text tower has parts of a CLIP's and the image tower has not. It cannot be exported.",
    );
  await writeWeights(source, 'bert', out);
  await writeJson(path.join(out, modelFiles.config), bertConfig(text, tokenizer));
  await writeTokenizer(out, tokenizer, source);
  return 'BertModel';
}

async function writeDual(source: Opened, out: string): Promise<void> {
  const { config, image } = source;
  const tokenizer = source.tokenizer as TextTokenizer;
  await writeWeights(source, 'dual_encoder', out);
  await writeJson(path.join(out, modelFiles.config), dualConfig(config, tokenizer));
  await writeJson(path.join(out, modelFiles.preprocessor), describePreprocessing(config.image.size, image));
  await writeTokenizer(out, tokenizer, source);
}

async function writeWeights({ config, weights }: Opened, family: NativeFamily, out: string): Promise<void> {
  await binding().exportHuggingFace({
    config: nativeModelConfig(config),
    file: weights,
    family,
    out: path.join(out, modelFiles.weights),
  });
}

/** tokenizer.json for the fast tokenizers, the vocabulary for the others, and the settings of both. */
async function writeTokenizer(
  out: string,
  tokenizer: TextTokenizer,
  { text }: ModelDescription,
): Promise<void> {
  await tokenizer.save(path.join(out, modelFiles.tokenizer));
  await writeJson(path.join(out, 'tokenizer_config.json'), tokenizerConfig(tokenizer, text.maxLength));
  if (tokenizer.special.mask !== null)
    await writeFile(path.join(out, 'vocab.txt'), `${tokenizer.vocabulary().join('\n')}\n`);
}

async function subfolder(out: string, name: string): Promise<string> {
  const folder = path.join(out, name);
  await mkdir(folder);
  return folder;
}

/** Floats of transformers' strict configs stay floats: 0 is written 0.0 there. */
async function writeJson(file: string, value: object): Promise<void> {
  const text = JSON.stringify(value, null, 2).replace(/("layer_scale_init_value": 0)(?=,?\n)/, '$1.0');
  await writeFile(file, `${text}\n`);
}
