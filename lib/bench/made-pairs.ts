/** Pairs to time a step with where a config names none. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
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

/**
 * A manifest of JPEGs a quarter larger than the model's input and captions of the longest length, each word one token; with
 * random queues and a random image tokenizer, so that no file but the config is needed.
 */
async function writeMadePairs(config: TrainConfig, folder: string): Promise<TrainConfig> {
  const pairs = Math.min(Math.max(config.train.batchSize, 16), 256);
  const random = uniform(config.train.seed);
  const side = Math.round(1.25 * config.model.image.size);
  const words = config.data.textMaxLen - 2;
  const vocabulary = Math.max(1, Math.min(2000, Math.floor(config.model.text.vocabSize / 4)));
  const lines: string[] = [];
  for (let pair = 0; pair < pairs; pair++) {
    const image = `${pair}.jpg`;
    await writeFile(path.join(folder, image), await syntheticJpeg(side, side, pair));
    lines.push(
      JSON.stringify({
        id: String(pair),
        image,
        captions: [syntheticCaption(words, vocabulary, random)],
        split: 'train',
      }),
    );
  }

  const manifest = path.join(folder, 'manifest.jsonl');
  await writeFile(manifest, `${lines.join('\n')}\n`);
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
