/** Evaluation of videos: by `embedSplit`, and during a training run. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import type { ManifestEntry } from '../../lib/data/manifest.js';
import { checkSplit, embedSplit } from '../../lib/evaluate/embed-split.js';
import { Cots, CotsError, evaluateRetrieval, type TrainEvent, Trainer } from '../../lib/index.js';
import { maxDifference } from '../support/fixtures.js';
import { makeShapes, temporaryFolder, tinyConfig } from '../support/tiny.js';
import { makeClip } from '../video/clips.js';

const entry = (index: number, media: object, captions = ['a']): ManifestEntry => ({
  id: String(index),
  captions,
  split: 'test',
  source: '',
  ...media,
});

/** Three clips, a manifest of them with two captions each. */
async function clips(
  folder: string,
): Promise<{ files: string[]; entries: ManifestEntry[]; manifest: string }> {
  const files = await Promise.all(
    [1, 2, 3].map((seconds) =>
      makeClip(path.join(folder, `${seconds}.mp4`), '-c:v libx264 -pix_fmt yuv420p', { seconds }),
    ),
  );
  const entries = files.map((video, index) => entry(index, { video }, [`clip ${index}`, `film ${index}`]));
  const manifest = path.join(folder, 'clips.jsonl');
  await writeFile(manifest, `${entries.map((one) => JSON.stringify(one)).join('\n')}\n`);
  return { files, entries, manifest };
}

test('a split of videos gives their vectors, and the frames asked for decide them', async (t) => {
  const folder = await temporaryFolder(t);
  const { files, entries } = await clips(folder);
  const model = await Cots.create({
    image: { size: 16, patch: 8, width: 16, layers: 1, heads: 2 },
    text: { width: 16, layers: 1, heads: 2, vocabSize: 200, maxPositions: 64 },
    embedDim: 8,
  });
  t.teardown(() => model.dispose());
  for (const frames of [undefined, 3]) {
    const done: number[] = [];
    const split = await embedSplit(model, entries, {
      ...(frames === undefined ? {} : { frames }),
      onProgress: (count, total) => done.push(count / total),
    });
    const { videos } = await model.embedVideos(files, { frames: frames ?? 12 });
    t.true(maxDifference(split.images.data, videos.data) < 1e-6);
    t.deepEqual([...split.imageOfText], [0, 0, 1, 1, 2, 2]);
    t.is(done.at(-1), 1);
    const result = await evaluateRetrieval({ ...split, protocol: 'plain' });
    t.like(result, { n: { images: 3, texts: 6 } });
  }

  const bad = [...entries, entry(9, { video: '/nowhere.mp4' })];
  const error = await t.throwsAsync(() => embedSplit(model, bad), { instanceOf: CotsError });
  t.is((error as CotsError).code, 'ERR_COTS_FILE');
});

test('msrvtt-1ka takes 1,000 videos with a caption, and no split mixes images and videos', (t) => {
  const videos = (count: number) => Array.from({ length: count }, (_, i) => entry(i, { video: `${i}.mp4` }));
  t.notThrows(() => checkSplit(videos(1000), 'msrvtt-1ka'));
  t.throws(() => checkSplit(videos(999), 'msrvtt-1ka'), { message: /1000 images x 1 text/ });
  t.throws(() => checkSplit([...videos(2), entry(2, { image: 'a.jpg' })], 'plain'), { message: /one kind/ });
});

test('a run evaluates on videos with `evaluate.frames`', async (t) => {
  const folder = await temporaryFolder(t);
  const { manifest } = await clips(folder);
  const config = tinyConfig(await makeShapes(folder, 16), path.join(folder, 'run'), {
    train: { steps: 2 },
    evaluate: { frames: 2 },
  });
  const trainer = await Trainer.create({
    ...config,
    data: { ...config.data, validation: [{ path: manifest, split: 'test' }] },
  });
  t.teardown(() => trainer.dispose());
  const events: TrainEvent[] = [];
  for await (const event of trainer.run()) events.push(event);
  const evaluation = events.find((event) => event.type === 'evaluation');
  t.like(evaluation, { step: 2, result: { n: { images: 3, texts: 6 } } });
});
