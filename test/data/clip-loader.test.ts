/** Clips in a batch: the frames are those of the draw, their views those of an image, bad clips are counted. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import sharp from 'sharp';
import { resolveConfig } from '../../lib/config/load.js';
import { drawTransform } from '../../lib/data/augment.js';
import type { LoadedBatch } from '../../lib/data/loader.js';
import { imageLoader, nativeBatch, pairLoader } from '../../lib/data/loaders.js';
import { writeManifest } from '../../lib/data/manifest.js';
import { KeyedRandom, sites } from '../../lib/data/random.js';
import { CaptionEncoder, captionRules } from '../../lib/data/text/captions.js';
import { TextTokenizer } from '../../lib/data/text/tokenizer.js';
import { openSources } from '../../lib/data/training-set.js';
import { ops } from '../../lib/index.js';
import { segmentDraws } from '../../lib/video/sample-frames.js';
import { makeClip, plainFrames } from '../video/clips.js';
import { temporaryFolder } from './temporary.js';

const [width, height] = [66, 50];
const lossless = '-c:v ffv1 -pix_fmt rgb24';

/** Two clips of 50 frames, one of 2, one image, and a clip that is none. */
async function dataset(t: ExecutionContext): Promise<string> {
  const folder = await temporaryFolder(t);
  const file = (name: string) => path.join(folder, name);
  await makeClip(file('a.mkv'), lossless);
  await makeClip(file('b.mkv'), lossless, { filters: ',hue=s=0' });
  await makeClip(file('short.mkv'), lossless, { seconds: 0.08 });
  await sharp({ create: { width: 40, height: 30, channels: 3, background: 'teal' } })
    .png()
    .toFile(file('still.png'));
  await writeFile(file('bad.mkv'), 'no clip');
  await writeManifest(
    file('m.jsonl'),
    ['a.mkv', 'b.mkv', 'short.mkv', 'still.png', 'bad.mkv'].map((name) => ({
      id: name,
      [name.endsWith('.png') ? 'image' : 'video']: name,
      captions: [`clip ${name}`],
      split: 'train',
      source: '',
    })),
  );
  return folder;
}

function configOf(folder: string, overrides: string[] = []) {
  return resolveConfig(
    {
      model: { image: { size: 16, patch: 8 }, embedDim: 4 },
      train: { batchSize: 4, seed: 5, frames: 3 },
      data: {
        train: path.join(folder, 'm.jsonl'),
        maxBadFraction: 0.3,
        aug: { jitter: { brightness: 0, contrast: 0, saturation: 0 } },
      },
    },
    overrides,
    'plan',
  );
}

/** The first two batches: more than an epoch. */
async function batchesOf(folder: string, overrides: string[] = []): Promise<[LoadedBatch, LoadedBatch]> {
  const config = configOf(folder, overrides);
  const words = TextTokenizer.fromVocabulary(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'clip']);
  const set = await openSources(config.data.train, 'train');
  const loader = pairLoader(config, set, new CaptionEncoder(words, captionRules(config)), {
    badFile: path.join(folder, 'bad.jsonl'),
  });
  const batches: [LoadedBatch, LoadedBatch] = [await loader.next(), await loader.next()];
  loader.close();
  return batches;
}

/** The crop of a frame as RGB, flipped where the transform says so. */
function cropped(
  frame: Uint8Array,
  { left, top, width: w, height: h, flip }: ReturnType<typeof drawTransform>,
) {
  const box = new Uint8Array(3 * w * h);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const from = 3 * ((top + y) * width + left + (flip ? w - 1 - x : x));
      box.set(frame.subarray(from, from + 3), 3 * (y * w + x));
    }
  }

  return { data: box, width: w, height: h };
}

test('a clip gives the frames of its draw, all with one crop and flip; an image is a clip of one', async (t) => {
  const folder = await dataset(t);
  const [batch, next] = await batchesOf(folder);
  const names = ['a.mkv', 'b.mkv', 'short.mkv', 'still.png', 'bad.mkv'];
  const { data } = configOf(folder);
  t.deepEqual([...batch.items].sort(), [0, 1, 2, 3]);
  t.is(next.badImages, 1);
  const [bad] = (await readFile(path.join(folder, 'bad.jsonl'), 'utf8')).trim().split('\n');
  t.like(JSON.parse(bad as string), { id: 'bad.mkv', code: 'ERR_COTS_VIDEO' });
  t.deepEqual(
    [...(batch.frames ?? [])],
    batch.items.map((item) => [3, 3, 2, 1][item]),
  );
  let row = 0;
  for (const [pair, item] of batch.items.entries()) {
    const count = batch.frames?.[pair] as number;
    if (item !== 3) {
      const sample = batch.samples[pair] as number;
      const all = await plainFrames(path.join(folder, names[item] as string), 3 * width * height);
      const chosen = segmentDraws(all.length, 3, new KeyedRandom(5, sites.frames, sample));
      const transform = drawTransform(width, height, data.aug, 5, sample);
      t.is(chosen.length, count);
      for (const [place, frame] of chosen.entries()) {
        const image = cropped(all[frame] as Buffer, transform);
        for (const [view, filter] of (['bicubic', 'lanczos'] as const).entries()) {
          const wanted = await ops.resize({ ...image, to: [16, 16], filter });
          const bytes = wanted.length;
          const found = batch.views[view]?.subarray((row + place) * bytes, (row + place + 1) * bytes);
          t.deepEqual(found, wanted);
        }
      }
    }

    row += count;
  }

  t.is(batch.views[0]?.length, row * 3 * 16 * 16);
  t.deepEqual(nativeBatch(batch).frames, batch.frames);
});

test('batches with clips do not depend on the number of workers', async (t) => {
  const folder = await dataset(t);
  t.deepEqual(await batchesOf(folder, ['data.workers=1']), await batchesOf(folder, ['data.workers=4']));
});

test('the discrete VAE is trained on one frame of a clip', async (t) => {
  const folder = await dataset(t);
  const config = configOf(folder, ['tokenizer.size=16', 'tokenizer.batchSize=4']);
  const loader = imageLoader(config, await openSources(config.data.train, 'any'));
  const batch = await loader.next();
  loader.close();
  t.is(batch.frames, null);
  t.is(batch.views[0]?.length, 4 * 3 * 16 * 16);
});
