/** Weights a new run starts from: a model folder (`train.init`), or Hugging Face towers (`model.image.init`, `model.text.init`). */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { binding, type NativeTrainer } from '../binding.js';
import { checkTrainable } from '../config/agreement.js';
import { nativeModelConfig } from '../config/native.js';
import type { ModelConfig, TrainConfig } from '../config/schema.js';
import { TextTokenizer } from '../data/text/tokenizer.js';
import { ConfigError } from '../errors.js';
import { modelFiles, readModelDescription } from '../model/config-file.js';
import { readImageFamily, readTextFamily } from '../model/import-families.js';
import { checkModelFolder } from '../model/model-folder.js';
import { findWeights } from '../model/weight-files.js';

/** The vocabulary that belongs to the initial weights; undefined when they are random or `data.vocabulary` is given. */
export async function initialTokenizer({
  train,
  model,
  data,
}: TrainConfig): Promise<TextTokenizer | undefined> {
  const folder = train.init ?? model.text.init;
  if (train.init !== null) await checkInitialFolder(train.init, model);
  if (folder === null || data.vocabulary !== null) return undefined;
  const tokenizer = await TextTokenizer.load(
    train.init === null ? folder : path.join(folder, modelFiles.tokenizer),
  );
  if (tokenizer.vocabSize > model.text.vocabSize) {
    throw new ConfigError(
      `Expected \`model.text.vocabSize\` to be at least the ${tokenizer.vocabSize} words of ${folder}, got ${model.text.vocabSize}. Set model.text.vocabSize=${tokenizer.vocabSize}.`,
    );
  }

  return tokenizer;
}

/** Puts the initial weights into a new trainer; nothing to do when they are random. */
export async function initializeWeights({ train, model }: TrainConfig, native: NativeTrainer): Promise<void> {
  if (train.init !== null) {
    await checkInitialFolder(train.init, model);
    await native.initializeFrom({ file: path.join(train.init, modelFiles.weights) });
    return;
  }

  const sources = [
    ...(model.image.init === null ? [] : [await imageSource(model, model.image.init)]),
    ...(model.text.init === null ? [] : [await textSource(model.text.init)]),
  ];
  if (sources.length === 0) return;
  const towers = model.image.init === null ? 'text' : model.text.init === null ? 'image' : 'both';
  const folder = await mkdtemp(path.join(tmpdir(), 'cots-init-'));
  try {
    const out = path.join(folder, modelFiles.weights);
    const config = { ...nativeModelConfig(model), towers, embedDim: 0 } as const;
    await binding().importHuggingFace({ config, sources, out });
    await native.initializeFrom({ file: out });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function imageSource(model: ModelConfig, folder: string) {
  const weights = await findWeights(folder);
  const { family, sizes } = await readImageFamily(folder, weights);
  checkVariants(sizes, model, folder);
  return { family, files: weights.files };
}

async function textSource(folder: string) {
  const { files } = await findWeights(folder);
  return { family: (await readTextFamily(folder)).family, files };
}

async function checkInitialFolder(folder: string, model: ModelConfig): Promise<void> {
  await checkModelFolder(folder);
  const { config } = await readModelDescription(folder);
  checkInitial(config, model, folder);
}

/** Throws `ERR_COTS_CONFIG` for initial weights of a model that is not trained here, or of another kind than the run's. */
function checkInitial(initial: ModelConfig, model: ModelConfig, folder: string): void {
  try {
    checkTrainable(initial);
  } catch (error) {
    throw new ConfigError(`${(error as Error).message} (It is in ${folder}, which \`train.init\` names.)`, {
      cause: error,
    });
  }

  checkVariants(initial.image, model, folder);
}

/** BEiT's weights want BEiT's parts: without them the network would be another. */
function checkVariants(
  initial: { layerScale?: boolean | undefined; relativeBias?: boolean | undefined },
  model: ModelConfig,
  folder: string,
): void {
  for (const key of ['layerScale', 'relativeBias'] as const) {
    const wanted = initial[key] ?? false;
    if (model.image[key] === wanted) continue;
    throw new ConfigError(
      `Expected \`model.image.${key}\` to be ${wanted} as the weights in ${folder} want it, got ${model.image[key]}. Set model.image.${key}=${wanted}.`,
    );
  }
}
