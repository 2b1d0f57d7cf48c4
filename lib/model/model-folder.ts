/** A model folder as a whole: its hash, and writing it. */
import { createHash } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { TextTokenizer } from '../data/text/tokenizer.js';
import { CheckpointError } from '../errors.js';
import { exists, hashFile, kindOf, readJson } from '../read-file.js';
import { replaceFiles, replaceFolder } from '../write-file.js';
import { describeModel, filesOf, type ModelDescription, modelFiles, towersOf } from './config-file.js';
import { Fields } from './json-fields.js';

/** SHA-256 over the names and hashes of the four files: the identity of a model, wherever its folder lies. */
export async function hashModel(directory: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of Object.values(modelFiles)) {
    const file = path.join(directory, name);
    hash.update(`${name} ${(await exists(file)) ? await hashFile(file) : 'absent'}\n`);
  }

  return hash.digest('hex');
}

/** Throws `ERR_COTS_CHECKPOINT` naming each file that a model folder lacks. */
export async function checkModelFolder(directory: string): Promise<void> {
  const kind = await kindOf(directory);
  if (kind !== 'directory') {
    throw new CheckpointError(
      `Expected a model folder at ${directory}, got ${kind ?? 'nothing'}. Name the folder that holds ${modelFiles.config}.`,
    );
  }

  const wanted = await filesWanted(directory);
  const missing: string[] = [];
  for (const name of wanted) {
    if ((await kindOf(path.join(directory, name))) !== 'file') missing.push(name);
  }

  if (missing.length > 0) {
    throw new CheckpointError(
      `Expected the model folder ${directory} to hold ${wanted.join(', ')}, it lacks ${missing.join(', ')}. Name a complete folder, such as RUN/latest or RUN/checkpoints/step-NNNNNNNN.`,
    );
  }
}

/** The files that a folder's config.json asks for; all where there is none. */
async function filesWanted(directory: string): Promise<string[]> {
  const file = path.join(directory, modelFiles.config);
  if ((await kindOf(file)) !== 'file') return filesOf({ towers: 'both' });
  return filesOf({ towers: towersOf(new Fields(file, await readJson(file))) });
}

/** The small files of a model folder: everything but the weights. */
export async function writeModelText(
  directory: string,
  description: ModelDescription,
  tokenizer: TextTokenizer | null,
): Promise<void> {
  const { config, preprocessor } = describeModel(description);
  await writeFile(path.join(directory, modelFiles.config), config);
  if (preprocessor !== null) await writeFile(path.join(directory, modelFiles.preprocessor), preprocessor);
  if (tokenizer !== null)
    await writeFile(path.join(directory, modelFiles.tokenizer), tokenizerText(tokenizer));
}

/**
 * Writes a model folder. A new folder appears whole; in one that exists its files are written beside and moved over the
 * old ones when all are complete, other files stay. `saveWeights` writes model.safetensors to the path it is given.
 */
export async function writeModelFolder(
  directory: string,
  description: ModelDescription,
  tokenizer: TextTokenizer | null,
  saveWeights: (file: string) => Promise<void>,
): Promise<void> {
  const fill = async (temporary: string): Promise<void> => {
    await writeModelText(temporary, description, tokenizer);
    await saveWeights(path.join(temporary, modelFiles.weights));
  };
  if (!(await exists(directory))) return replaceFolder(directory, fill);
  const names = filesOf(description.config);
  await replaceFiles(directory, names, fill);
  // What a model of both towers left there is none of this one's.
  for (const name of Object.values(modelFiles))
    if (!names.includes(name)) await rm(path.join(directory, name), { force: true });
}

function tokenizerText(tokenizer: TextTokenizer): string {
  return `${JSON.stringify(tokenizer.toJSON(), null, 1)}\n`;
}
