/** The folder of a trained image tokenizer: `dvae.safetensors` and `config.json`. */

import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { NativeTokenizerConfig } from '../binding.js';
import { CheckpointError } from '../errors.js';
import { Fields } from '../model/json-fields.js';
import { hashFile, kindOf, readJson } from '../read-file.js';
import { replaceFolder } from '../write-file.js';

/** A trained image tokenizer on disk. */
export interface TokenizerFolder {
  readonly config: NativeTokenizerConfig;
  /** Path of dvae.safetensors. */
  readonly file: string;
  /** SHA-256 of the weights. */
  readonly hash: string;
}

const weightsName = 'dvae.safetensors';

/** Reads and checks the folder; throws `ERR_COTS_CHECKPOINT` with what it lacks and `cots train-tokenizer` as the way out. */
export async function readTokenizerFolder(folder: string): Promise<TokenizerFolder> {
  const file = path.join(folder, weightsName);
  const configFile = path.join(folder, 'config.json');
  for (const needed of [configFile, file]) {
    if ((await kindOf(needed)) !== 'file') {
      throw new CheckpointError(
        `Expected \`token.tokenizer\` to be a folder with config.json and ${weightsName}, found no ${needed}. Train one with \`cots train-tokenizer --config FILE token.tokenizer=${folder}\`.`,
      );
    }
  }

  const fields = new Fields(configFile, await readJson(configFile));
  if (fields.text('model_type') !== 'cots_dvae') {
    throw new CheckpointError(
      `Expected "model_type" in ${configFile} to be cots_dvae, got ${fields.text('model_type')}. Name the folder that \`cots train-tokenizer\` wrote.`,
    );
  }

  const config: NativeTokenizerConfig = {
    arch: fields.text('arch') === 'openai' ? 'openai' : 'small',
    vocab: fields.number('vocab_size'),
    hidden: fields.number('hidden_size'),
    codebookDim: fields.number('codebook_dim'),
    blocks: fields.number('blocks'),
    pixels: fields.text('pixels') === 'map_pixels' ? 'map_pixels' : 'mean_std_half',
  };
  return { config, file, hash: await hashFile(file) };
}

/** Writes the folder whole. `save` writes the weights to the path it is given; `training` goes along for the record. */
export async function writeTokenizerFolder(
  folder: string,
  config: NativeTokenizerConfig,
  training: object,
  save: (file: string) => Promise<void>,
): Promise<void> {
  await replaceFolder(folder, async (temporary) => {
    await save(path.join(temporary, weightsName));
    const { arch, vocab, hidden, codebookDim, blocks, pixels } = config;
    const json = {
      model_type: 'cots_dvae',
      format_version: 1,
      arch,
      vocab_size: vocab,
      hidden_size: hidden,
      codebook_dim: codebookDim,
      blocks,
      pixels,
      training,
    };
    await writeFile(path.join(temporary, 'config.json'), `${JSON.stringify(json, null, 2)}\n`);
  });
}
