/** Embedding of videos: the vectors are those of their frames as images, in order, in full batches, and ends leave no process. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import sharp from 'sharp';
import type { CotsErrorCode } from '../../lib/errors.js';
import { Cots, CotsError, type EmbeddedBatch, type Item, type ModelConfigInput } from '../../lib/index.js';
import { type ClipModel, type ClipResult, embedClips } from '../../lib/model/embed-clips.js';
import { maxDifference } from '../support/fixtures.js';
import { temporaryFolder } from '../support/tiny.js';
import { childProcesses, ffmpeg, makeClip, plainFrames } from '../video/clips.js';

const sizes: ModelConfigInput = {
  image: { size: 32, patch: 8, width: 32, layers: 2, heads: 2 },
  text: { width: 32, layers: 2, heads: 2, vocabSize: 200, maxPositions: 64 },
  embedDim: 16,
};
const x264 = '-c:v libx264 -pix_fmt yuv420p';

const created = async (t: ExecutionContext): Promise<Cots> => {
  const model = await Cots.create(sizes, { seed: 1 });
  t.teardown(() => model.dispose());
  return model;
};

const rejects = async (
  t: ExecutionContext,
  call: () => Promise<unknown>,
  code: CotsErrorCode,
  message: RegExp,
): Promise<void> => {
  const error = await t.throwsAsync(call, { instanceOf: CotsError, message });
  t.is((error as CotsError).code, code);
};

test('a lossless clip of one picture has the vector of the picture', async (t) => {
  const model = await created(t);
  const folder = await temporaryFolder(t);
  const png = path.join(folder, 'a.png');
  const noise = Buffer.from(Uint8Array.from({ length: 3 * 97 * 61 }, (_, i) => (i * 7919) % 251));
  await sharp(noise, { raw: { width: 97, height: 61, channels: 3 } })
    .png()
    .toFile(png);
  const image = await model.embedImages([png]);
  for (const [name, options] of [
    ['a.mkv', '-c:v ffv1 -pix_fmt bgr0'],
    ['a.mp4', '-c:v libx264rgb -crf 0 -pix_fmt rgb24'],
  ] as const) {
    await ffmpeg('-i', png, ...options.split(' '), path.join(folder, name));
    const { videos, frames, offsets } = await model.embedVideos([path.join(folder, name)]);
    t.deepEqual([...offsets], [0, 1]);
    t.true(maxDifference(frames.data, image.data) < 1e-6, name);
    t.true(maxDifference(videos.data, image.data) < 1e-6, name);
  }
});

test('frames are embedded as images, and a clip is the normalized mean of its frames', async (t) => {
  const model = await created(t);
  const folder = await temporaryFolder(t);
  const clips = await Promise.all(
    [2, 0.2, 3].map((seconds, index) => makeClip(path.join(folder, `${index}.mp4`), x264, { seconds })),
  );
  const found = await model.embedVideos(clips);
  t.deepEqual([...found.offsets], [0, 12, 17, 29]);
  t.deepEqual(
    [found.videos.shape, found.frames.shape],
    [
      [3, 16],
      [29, 16],
    ],
  );
  const middles = Array.from({ length: 12 }, (_, part) =>
    Math.floor((Math.floor((part * 50) / 12) + Math.floor(((part + 1) * 50) / 12)) / 2),
  );
  const plain = await plainFrames(clips[0] as string, 3 * 66 * 50);
  const images = await model.embedImages(
    middles
      .map((index) => ({ data: plain[index] as Buffer, width: 66, height: 50 }))
      .map((pixels) => ({ ...pixels, data: Uint8Array.from(pixels.data) })),
  );
  t.true(maxDifference(found.frames.data.subarray(0, 12 * 16), images.data) < 1e-6);
  t.true(
    maxDifference(
      found.timestamps.subarray(0, 12),
      middles.map((index) => index / 25),
    ) < 1e-6,
  );
  for (let clip = 0; clip < 3; clip++) {
    const [begin, end] = [found.offsets[clip] as number, found.offsets[clip + 1] as number];
    const mean = Array.from({ length: 16 }, (_, column) => {
      let sum = 0;
      for (let row = begin; row < end; row++) sum += found.frames.data[row * 16 + column] as number;
      return sum / (end - begin);
    });
    const norm = Math.hypot(...mean);
    t.true(
      maxDifference(
        found.videos.data.subarray(clip * 16, (clip + 1) * 16),
        mean.map((value) => value / norm),
      ) < 1e-6,
    );
  }

  const again = await model.embedVideos(clips, { batchSize: 5 });
  t.true(maxDifference(again.frames.data, found.frames.data) < 1e-6);
  t.deepEqual([...(await model.embedVideos([])).offsets], [0]);
});

test('frames, fps and skipBlack choose the frames', async (t) => {
  const model = await created(t);
  const file = await makeClip(path.join(await temporaryFolder(t), 'a.mp4'), x264, {
    seconds: 4,
    filters: ",drawbox=color=black:t=fill:enable='lt(t,1)'",
  });
  const times = async (options: object): Promise<number[]> =>
    Array.from(
      (await model.embedVideos([file], options)).timestamps,
      (time) => Math.round(time * 1000) / 1000,
    );
  t.deepEqual(await times({ frames: 4 }), [0.48, 1.48, 2.48, 3.48]);
  t.deepEqual(await times({ fps: 1 }), [0, 1, 2, 3]);
  t.deepEqual(await times({ frames: 4, skipBlack: true }), [1, 1.48, 2.48, 3.48]);
  t.deepEqual(await times({ frames: 8, skipBlack: true }), [1, 1.04, 1.24, 1.72, 2.24, 2.72, 3.24, 3.72]);
});

test('a clip of black frames alone keeps its frames', async (t) => {
  const model = await created(t);
  const file = path.join(await temporaryFolder(t), 'a.mp4');
  await ffmpeg('-f', 'lavfi', '-i', 'color=black:size=64x48:rate=25:duration=1', ...x264.split(' '), file);
  const { timestamps } = await model.embedVideos([file], { frames: 2, skipBlack: true });
  t.deepEqual([...timestamps], [0.24, 0.72]);
});

test('a stream gives clips with their frames, in order, and reports the bad ones', async (t) => {
  const model = await created(t);
  const folder = await temporaryFolder(t);
  const clip = await makeClip(path.join(folder, 'a.mp4'), x264, { seconds: 1 });
  await writeFile(path.join(folder, 'bad.mp4'), 'no video');
  async function* items(): AsyncGenerator<Item> {
    yield { id: 'words', text: 'a box' };
    for (let index = 0; index < 7; index++)
      yield { id: `v${index}`, video: index === 3 ? path.join(folder, 'bad.mp4') : clip };
    yield { id: 'more words', text: 'another box' };
  }

  const batches: EmbeddedBatch[] = [];
  for await (const batch of model.embed(items(), { batchSize: 8, frames: 3 })) batches.push(batch);
  t.deepEqual(
    batches.flatMap(({ ids }) => ids),
    ['words', 'v0', 'v1', 'v2', 'v4', 'v5', 'v6', 'more words'],
  );
  const [error, ...others] = batches.flatMap(({ errors }) => errors);
  t.deepEqual([error?.id, error?.code, others.length], ['v3', 'ERR_COTS_VIDEO', 0]);
  const alone = await model.embedVideos([clip], { frames: 3 });
  for (const { ids, vectors, frames } of batches) {
    if (ids.some((id) => id.endsWith('words'))) {
      t.is(frames, undefined);
      continue;
    }

    t.deepEqual(frames?.vectors.shape, [3 * ids.length, 16]);
    t.deepEqual(
      [...(frames?.durations ?? [])],
      ids.map(() => 1),
    );
    for (let row = 0; row < ids.length; row++) {
      t.true(maxDifference(vectors.data.subarray(16 * row, 16 * row + 16), alone.videos.data) < 1e-6);
      t.deepEqual(frames?.timestamps.subarray(3 * row, 3 * row + 3), alone.timestamps);
      t.deepEqual([...(frames?.indices.subarray(3 * row, 3 * row + 3) ?? [])], [4, 12, 20]);
    }
  }
});

test('forward batches are full but the last one, and clips are decoded while one runs', async (t) => {
  const folder = await temporaryFolder(t);
  const clip = await makeClip(path.join(folder, 'a.mp4'), x264, { seconds: 1 });
  const counts: number[] = [];
  let onView = (): void => {};
  const model: ClipModel = {
    dimension: 1,
    async view() {
      onView();
      return new Uint8Array(3);
    },
    async embedPixels(_, count) {
      counts.push(count);
      // Never ends unless a frame is decoded while it is under way.
      if (counts.length === 1)
        await new Promise<void>((resolve) => {
          onView = resolve;
        });
      return new Float32Array(count).fill(counts.length);
    },
    orStopped: (work) => work(),
  };
  async function* items(): AsyncGenerator<{ video: string; id: number }> {
    for (let id = 0; id < 9; id++) yield { id, video: clip };
  }

  const results: ClipResult<{ id: number }>[] = [];
  const options = {
    sampling: { frames: 5 },
    skipBlack: false,
    batchSize: 8,
    decoders: 2,
    threads: 1,
    signal: undefined,
  };
  for await (const group of embedClips(items(), model, options)) results.push(...group);
  t.deepEqual(counts, [8, 8, 8, 8, 8, 5]);
  t.deepEqual(
    results.map(({ item }) => item.id),
    [0, 1, 2, 3, 4, 5, 6, 7, 8],
  );
  const second = results[1] as ClipResult<{ id: number }> & { clip: { frames: Float32Array } };
  t.deepEqual([...second.clip.frames], [1, 1, 1, 2, 2]);
});

test('wrong calls and bad videos are named', async (t) => {
  const model = await created(t);
  const clip = await makeClip(path.join(await temporaryFolder(t), 'a.mp4'), x264, { seconds: 0.2 });
  await rejects(t, () => model.embedVideos([clip, '/nowhere.mp4']), 'ERR_COTS_FILE', /videos\[1\]/);
  await rejects(t, () => model.embedVideos(clip as never), 'ERR_COTS_OPTION', /array/);
  await rejects(t, () => model.embedVideos([clip, 7 as never]), 'ERR_COTS_OPTION', /videos\[1\]/);
  await rejects(t, () => model.embedVideos([clip], { frames: 0 }), 'ERR_COTS_OPTION', /frames/);
  await rejects(t, () => model.embedVideos([clip], { fps: -1 }), 'ERR_COTS_OPTION', /fps/);
  await rejects(t, () => model.embedVideos([clip], { fps: 1, frames: 2 }), 'ERR_COTS_OPTION', /either/);
  await rejects(t, () => model.embedVideos([clip], { frame: 2 } as never), 'ERR_COTS_OPTION', /`frames`/);
});

test.serial('an abort, a disposal and a break end in time and leave no process', async (t) => {
  const clip = await makeClip(path.join(await temporaryFolder(t), 'a.mp4'), x264, {
    seconds: 20,
    size: '640x480',
  });
  const videos = Array.from({ length: 50 }, () => clip);
  const model = await created(t);
  const controller = new AbortController();
  const aborted = model.embedVideos(videos, { signal: controller.signal });
  setTimeout(() => controller.abort(new Error('enough')), 400);
  await t.throwsAsync(aborted, { message: 'enough' });
  t.deepEqual(await childProcesses(), []);

  const disposed = model.embedVideos(videos);
  setTimeout(() => model.dispose(), 400);
  await rejects(t, () => disposed, 'ERR_COTS_DISPOSED', /disposed/);
  t.deepEqual(await childProcesses(), []);

  const other = await created(t);
  async function* items(): AsyncGenerator<Item> {
    for (const [id, video] of videos.entries()) yield { id: String(id), video };
  }

  for await (const _ of other.embed(items())) break;
  t.deepEqual(await childProcesses(), []);
});
