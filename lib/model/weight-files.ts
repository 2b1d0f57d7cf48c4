/** The safetensors files of a folder that transformers' save_pretrained wrote: one, or shards with an index. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { binding } from '../binding.js';
import { CheckpointError } from '../errors.js';
import { exists, fileError, kindOf, readJson } from '../read-file.js';
import { modelFiles } from './config-file.js';
import { Fields } from './json-fields.js';

/** A checkpoint on disk. */
export interface WeightFiles {
  readonly files: string[];
  /** Names of all tensors. */
  readonly names: ReadonlySet<string>;
}

const indexName = `${modelFiles.weights}.index.json`;
const pickled = /\.(bin|pt|pth|ckpt|pkl)$/;
const way =
  'Convert it where transformers is installed: `AutoModel.from_pretrained(FOLDER).save_pretrained(FOLDER)` writes model.safetensors.';

/** Throws `ERR_COTS_CHECKPOINT` for a pickled checkpoint, none, or shards that are not those of the index. */
export async function findWeights(folder: string): Promise<WeightFiles> {
  const single = path.join(folder, modelFiles.weights);
  if ((await kindOf(single)) === 'file') return { files: [single], names: new Set(await namesIn(single)) };
  const index = path.join(folder, indexName);
  if ((await kindOf(index)) === 'file') return shardsOf(folder, index);
  throw await absent(folder);
}

async function shardsOf(folder: string, index: string): Promise<WeightFiles> {
  const map = new Fields(index, await readJson(index)).section('weight_map');
  const shardOf = new Map(map.entries().map(([name, shard]) => [name, shardName(index, shard)]));
  if (shardOf.size === 0)
    throw new CheckpointError(
      `Expected "weight_map" in ${index} to name tensors, got none. Fetch the file again.`,
    );
  const names = new Set<string>();
  const shards = [...new Set(shardOf.values())].sort();
  for (const shard of shards) {
    const file = path.join(folder, shard);
    if ((await kindOf(file)) !== 'file')
      throw new CheckpointError(
        `Expected the shard ${file} that ${index} names, found none. Fetch all shards.`,
      );
    for (const name of await namesIn(file)) {
      if (shardOf.get(name) !== shard)
        throw new CheckpointError(
          `Expected ${file} to hold only tensors that ${index} places there, got '${name}'. Fetch shards and index of one revision.`,
        );
      names.add(name);
    }
  }

  for (const [name, shard] of shardOf) {
    if (!names.has(name))
      throw new CheckpointError(
        `Expected ${path.join(folder, shard)} to hold the tensor '${name}' that ${index} places there, found none. Fetch shards and index of one revision.`,
      );
  }

  return { files: shards.map((shard) => path.join(folder, shard)), names };
}

/** A file beside the index, by its bare name. */
function shardName(index: string, value: unknown): string {
  if (typeof value === 'string' && value.endsWith('.safetensors') && path.basename(value) === value)
    return value;
  throw new CheckpointError(
    `Expected "weight_map" in ${index} to name .safetensors files beside it, got ${JSON.stringify(value)}. Fetch the file again.`,
  );
}

async function namesIn(file: string): Promise<string[]> {
  return (await binding().readSafetensorsHeader({ file })).map(({ name }) => name);
}

/** Why a folder has no weights that can be read. */
async function absent(folder: string): Promise<Error> {
  if ((await kindOf(folder)) !== 'directory') {
    const got = (await exists(folder)) ? 'a file' : 'nothing';
    return new CheckpointError(
      `Expected a folder that transformers' save_pretrained wrote at ${folder}, got ${got}. Check the path.`,
    );
  }

  const names = await readdir(folder).catch((error: unknown) => {
    throw fileError(error, 'read the folder', folder);
  });
  const pickle = names.find((name) => pickled.test(name));
  if (pickle === undefined)
    return new CheckpointError(
      `Expected ${folder} to hold ${modelFiles.weights} or ${indexName}, found none. Name the folder that transformers' save_pretrained wrote.`,
    );
  return new CheckpointError(
    `Expected ${folder} to hold ${modelFiles.weights}, got ${pickle}, a pickle, which can run code when it is read and is never opened here. ${way}`,
  );
}
