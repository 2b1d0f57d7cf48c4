/** Weights a new run starts from: a model folder (`train.init`), or Hugging Face towers (`model.image.init`, `model.text.init`). */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { binding, type NativeTrainer } from '../binding.js';
import { nativeModelConfig } from '../config/native.js';
import type { TrainConfig } from '../config/schema.js';
import { TextTokenizer } from '../data/text/tokenizer.js';
import { ConfigError } from '../errors.js';
import { modelFiles } from '../model/config-file.js';
import { checkModelFolder } from '../model/model-folder.js';

/** The vocabulary that belongs to the initial weights; undefined when they are random or `data.vocabulary` is given. */
export async function initialTokenizer({
  train,
  model,
  data,
}: TrainConfig): Promise<TextTokenizer | undefined> {
  const folder = train.init ?? model.text.init;
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
    await checkModelFolder(train.init);
    await native.initializeFrom({ file: path.join(train.init, modelFiles.weights) });
    return;
  }

  const { init: image } = model.image;
  const { init: text } = model.text;
  if (image === null && text === null) return;
  if (image === null || text === null) {
    throw new ConfigError(
      'Expected `model.image.init` and `model.text.init` together, got one of them. Set both, or use train.init with a model folder.',
    );
  }

  const folder = await mkdtemp(path.join(tmpdir(), 'cots-init-'));
  try {
    const out = path.join(folder, modelFiles.weights);
    const [imageFile, textFile] = [path.join(image, modelFiles.weights), path.join(text, modelFiles.weights)];
    await binding().importHuggingFace({
      config: { ...nativeModelConfig(model), embedDim: 0 },
      imageFile,
      textFile,
      out,
    });
    await native.initializeFrom({ file: out });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
