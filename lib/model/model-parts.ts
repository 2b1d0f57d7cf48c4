/** The parts of a model, from a folder or from a config with random weights. */
import path from 'node:path';
import { binding } from '../binding.js';
import * as check from '../checks.js';
import { resolveModelConfig } from '../config/load.js';
import { nativeModelConfig } from '../config/native.js';
import { configSchema, type ModelConfigInput } from '../config/schema.js';
import { captionRules } from '../data/text/captions.js';
import { TextTokenizer } from '../data/text/tokenizer.js';
import { continuation, specialWords } from '../data/text/tokenizer-json.js';
import { resolveDevice, resolvePrecision, resolveThreads } from '../device.js';
import { CheckpointError } from '../errors.js';
import { modelFiles, readModelDescription } from './config-file.js';
import type { CotsParts, CreateOptions, LoadOptions } from './cots-options.js';
import { checkModelFolder } from './model-folder.js';

/** Reads a model folder; the weights are loaded when this resolves. */
export async function loadParts(directory: string, options: LoadOptions): Promise<CotsParts> {
  const device = resolveDevice(options.device);
  const precision = resolvePrecision(options.precision, device);
  const threads = resolveThreads(options.threads);
  await checkModelFolder(directory);
  const description = await readModelDescription(directory);
  const tokenizer =
    description.config.towers === 'image'
      ? null
      : await TextTokenizer.load(path.join(directory, modelFiles.tokenizer));
  const { vocabSize } = description.config.text;
  if (tokenizer !== null && tokenizer.vocabSize > vocabSize) {
    throw new CheckpointError(
      `Expected ${path.join(directory, modelFiles.tokenizer)} to have at most the model's ${vocabSize} words, got ${tokenizer.vocabSize}. Restore the tokenizer that belongs to the model.`,
    );
  }

  const config = nativeModelConfig(description.config);
  const native = await binding().loadModel({
    config,
    file: path.join(directory, modelFiles.weights),
    threads,
    device,
    precision,
  });
  return { description, tokenizer, precision, native: Promise.resolve(native) };
}

/** A model of random weights; its words are spelled letter by letter. */
export async function createParts(
  input: ModelConfigInput,
  options: CreateOptions & { threads?: number },
): Promise<CotsParts> {
  const config = resolveModelConfig(input);
  const seed = check.integer('seed', options.seed ?? 0, 0, 2 ** 32 - 1);
  const device = resolveDevice(options.device);
  const precision = resolvePrecision(undefined, device);
  const defaults = configSchema.parse({});
  const rules = captionRules(defaults);
  const { mean, std } = defaults.data.imageNorm;
  const native = await binding().createModel({
    config: nativeModelConfig(config),
    seed,
    threads: resolveThreads(options.threads),
    device,
    precision,
  });
  return {
    precision,
    description: {
      config,
      image: { mean, std, filter: defaults.data.filter, resize: null },
      text: { ...rules, maxLength: Math.min(rules.maxLength, config.text.maxPositions) },
    },
    tokenizer:
      config.towers === 'image' ? null : TextTokenizer.fromVocabulary(letters(config.text.vocabSize)),
    native: Promise.resolve(native),
  };
}

/** The special words, then printable ASCII: as the start of a word and inside one. */
function letters(size: number): string[] {
  const printable = Array.from({ length: 94 }, (_, index) => String.fromCharCode(33 + index)).filter(
    (letter) => letter === letter.toLowerCase(),
  );
  return [
    ...Object.values(specialWords),
    ...printable,
    ...printable.map((letter) => `${continuation}${letter}`),
  ].slice(0, size);
}
