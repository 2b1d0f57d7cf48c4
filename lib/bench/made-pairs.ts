/** Pairs to time a step with where a config names none. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TrainConfig } from '../config/schema.js';
import { syntheticCaption, syntheticJpeg, uniform } from './synthetic.js';

/** Calls `work` with the config itself where it has `data.train`, else with one of made pairs, whose folder is gone afterwards. */
export async function withPairs<Result>(
  config: TrainConfig,
  work: (config: TrainConfig, made: boolean) => Promise<Result>,
): Promise<Result> {
  if (config.data.train.length > 0) return work(config, false);
  const folder = await mkdtemp(path.join(tmpdir(), 'cots-pairs-'));
  try {
    return await work(await writeMadePairs(config, folder), true);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The config on made pairs, with random queues and a random image tokenizer, so that no file but the config is needed. */
async function writeMadePairs(config: TrainConfig, folder: string): Promise<TrainConfig> {
  const manifest = await writePairs(folder, config, Math.min(Math.max(config.train.batchSize, 16), 256));
  return {
    ...config,
    queue: { ...config.queue, init: 'random' },
    token: { ...config.token, tokenizer: null },
    data: {
      ...config.data,
      train: [{ path: manifest, weight: 1, split: null, images: null, columns: null }],
      textClean: 'none',
      vocabulary: null,
    },
  };
}

/**
 * Writes JPEGs a quarter larger than the model's input, and captions of the longest length, each word one token. Resolves to the
 * manifest's path. Words are whole tokens with `data.textClean=none` and no `data.vocabulary`.
 */
export async function writePairs(
  folder: string,
  { model, data, train }: TrainConfig,
  count: number,
): Promise<string> {
  await mkdir(folder, { recursive: true });
  const random = uniform(train.seed);
  const side = Math.round(1.25 * model.image.size);
  const vocabulary = Math.max(1, Math.min(2000, Math.floor(model.text.vocabSize / 4)));
  const lines: string[] = [];
  for (let pair = 0; pair < count; pair++) {
    const image = `${pair}.jpg`;
    await writeFile(path.join(folder, image), await syntheticJpeg(side, side, pair));
    const captions = [syntheticCaption(data.textMaxLen - 2, vocabulary, random)];
    lines.push(JSON.stringify({ id: String(pair), image, captions, split: 'train' }));
  }

  const manifest = path.join(folder, 'manifest.jsonl');
  await writeFile(manifest, `${lines.join('\n')}\n`);
  return manifest;
}
