/** From clips to vectors to an index to moments. */
import { copyFile, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { Cots, CotsError } from '../../lib/index.js';
import { type EmbedSummary, embedInto } from '../../lib/search/embed-input.js';
import { buildIndex, loadIndex } from '../../lib/search/index-folder.js';
import { readNpy } from '../../lib/search/npy.js';
import { readInput } from '../../lib/search/read-input.js';
import { search } from '../../lib/search/search.js';
import { maxDifference } from '../support/fixtures.js';
import { makeShapes, temporaryFolder } from '../support/tiny.js';
import { ffmpeg, makeClip } from '../video/clips.js';

const x264 = '-c:v libx264 -pix_fmt yuv420p';
const dimension = 8;

interface Prepared {
  readonly folder: string;
  readonly clips: readonly string[];
  readonly out: string;
  readonly model: Cots;
  /** Embeds the clips; again goes on. */
  readonly embed: (sampling?: object, input?: string) => Promise<EmbedSummary>;
}

/** A clip of patterns, one that goes from red to blue after 2 of 4 seconds, one of green. */
async function prepared(t: ExecutionContext): Promise<Prepared> {
  const folder = await temporaryFolder(t);
  const videos = path.join(folder, 'clips');
  const clips = ['a', 'b', 'c'].map((name) => path.join(videos, `${name}.mp4`)) as [string, string, string];
  await mkdir(videos);
  await makeClip(clips[0], x264);
  const color = (name: string, seconds: number) => `color=${name}:size=64x48:rate=10:duration=${seconds}`;
  await ffmpeg(
    ...['-f', 'lavfi', '-i', color('red', 2), '-f', 'lavfi', '-i', color('blue', 2)],
    ...['-filter_complex', '[0][1]concat', ...x264.split(' '), clips[1]],
  );
  await ffmpeg('-f', 'lavfi', '-i', color('green', 1), ...x264.split(' '), clips[2]);
  await writeFile(path.join(videos, 'b.txt'), 'red, then blue\n');
  const model = await Cots.create({
    image: { size: 16, patch: 8, width: 16, layers: 1, heads: 2 },
    text: { width: 16, layers: 1, heads: 2, vocabSize: 200, maxPositions: 64 },
    embedDim: dimension,
  });
  t.teardown(() => model.dispose());
  const modelPath = path.join(folder, 'model');
  await model.save(modelPath);
  const out = path.join(folder, 'emb');
  const embed = async (sampling: object = { frames: 4 }, input = videos): Promise<EmbedSummary> =>
    embedInto(model, await readInput(input, 'video', null), { modality: 'video', out, modelPath, sampling });
  return { folder, clips, out, model, embed };
}

const dataError = async (
  t: ExecutionContext,
  call: () => Promise<unknown>,
  message: RegExp,
): Promise<void> => {
  const error = await t.throwsAsync(call, { instanceOf: CotsError, message });
  t.is((error as CotsError).code, 'ERR_COTS_DATA');
};

test('vectors of clips and of their frames, and what they are of', async (t) => {
  const { clips, out, model, embed } = await prepared(t);
  t.like(await embed(), { rows: 3, embedded: 3, partitions: 1, errors: [] });
  t.deepEqual((await readdir(out)).sort(), ['frame_emb', 'manifest.json', 'metadata', 'video_emb']);
  const truth = await model.embedVideos([...clips], { frames: 4 });
  const videos = await readNpy(path.join(out, 'video_emb', 'video_emb_0.npy'));
  const frames = await readNpy(path.join(out, 'frame_emb', 'frame_emb_0.npy'));
  t.deepEqual([videos.shape, frames.shape], [truth.videos.shape, truth.frames.shape]);
  t.true(maxDifference(videos.data, truth.videos.data) < 1e-6);
  t.true(maxDifference(frames.data, truth.frames.data) < 1e-6);
  const rows = await parquetReadObjects({
    file: await asyncBufferFromFile(path.join(out, 'metadata', 'metadata_0.parquet')),
  });
  t.deepEqual(rows[1], {
    video_path: clips[1],
    caption: 'red, then blue',
    id: 'b',
    duration: 4,
    frame_index: [5, 15, 25, 35],
    pts_seconds: [0.5, 1.5, 2.5, 3.5],
  });
  const manifest = JSON.parse(await readFile(path.join(out, 'manifest.json'), 'utf8')) as object;
  t.like(manifest, { modalities: { video: { rows: 3, complete: true, sampling: { frames: 4 } } } });
});

test('a clip that failed is tried again, the others are not', async (t) => {
  const { folder, clips, out, model, embed } = await prepared(t);
  const [first] = clips as [string];
  await copyFile(first, path.join(folder, 'whole.mp4'));
  await writeFile(first, 'no video');
  const summary = await embed();
  t.like(summary, { rows: 2, embedded: 2 });
  t.deepEqual(
    summary.errors.map(({ id, code }) => [id, code]),
    [['a', 'ERR_COTS_VIDEO']],
  );
  await copyFile(path.join(folder, 'whole.mp4'), first);
  t.like(await embed(), { rows: 3, embedded: 1, errors: [] });
  t.like(await embed(), { rows: 3, embedded: 0, skippedPartitions: 1 });
  const truth = await model.embedVideos([...clips], { frames: 4 });
  const frames = await readNpy(path.join(out, 'frame_emb', 'frame_emb_0.npy'));
  t.true(maxDifference(frames.data, truth.frames.data) < 1e-6);
});

test('a partition without its frames is made anew', async (t) => {
  const { out, embed } = await prepared(t);
  await embed();
  await truncate(path.join(out, 'frame_emb', 'frame_emb_0.npy'), 150);
  t.like(await embed(), { rows: 3, embedded: 3 });
  await rm(path.join(out, 'frame_emb', 'frame_emb_0.npy'));
  t.like(await embed(), { rows: 3, embedded: 3 });
});

test('other frames, and images, want a folder of their own', async (t) => {
  const { folder, out, model, embed } = await prepared(t);
  await embed();
  await dataError(t, () => embed({ frames: 5 }), /each way of choosing frames/);
  await dataError(t, () => embed({ fps: 2 }), /each way of choosing frames/);
  const entries = await readInput(await makeShapes(folder, 3), 'image', null);
  const images = { modality: 'image' as const, out, modelPath: path.join(folder, 'model') };
  await dataError(t, () => embedInto(model, entries, images), /another one/);
});

test('one video, a folder, a manifest and a folder with images are inputs', async (t) => {
  const { folder, clips } = await prepared(t);
  const [first, second] = clips as [string, string];
  t.deepEqual(await readInput(first, 'video', null), [{ id: 'a', image: '', video: first, caption: '' }]);
  const manifest = path.join(folder, 'some.jsonl');
  await writeFile(manifest, `${JSON.stringify({ id: '1', video: 'clips/b.mp4', captions: ['x'] })}\n`);
  t.deepEqual(await readInput(manifest, 'video', null), [
    { id: '1', image: '', video: second, caption: 'x' },
  ]);
  await makeShapes(path.join(folder, 'clips'), 2, 'train', 'other.jsonl');
  t.is((await readInput(path.join(folder, 'clips'), 'video', null)).length, 3);
  t.is((await readInput(path.join(folder, 'clips'), 'image', null)).length, 2);
  await dataError(t, () => readInput(path.join(folder, 'model'), 'video', null), /hold videos/);
});

test('a search answers with the clip and the moment nearest to the query, from index and embeddings alike', async (t) => {
  const { folder, clips, out, model, embed } = await prepared(t);
  await embed();
  const index = path.join(folder, 'index');
  t.like(await buildIndex(out, index), { modality: 'video', rows: 3, frames: 12 });
  t.deepEqual((await readdir(index)).sort(), ['frames.bin', 'ids.jsonl', 'manifest.json', 'vectors.bin']);
  const blue = path.join(folder, 'blue.png');
  await ffmpeg('-ss', '3', '-i', clips[1] as string, '-frames:v', '1', blue);
  const [query] = [await model.embedImages([blue])];
  const truth = await model.embedVideos([...clips], { frames: 4 });
  for (const from of [index, out]) {
    const loaded = await loadIndex(from);
    const hits = await search(model, loaded, { image: blue }, { k: 3, moments: true });
    t.is(hits.length, 3);
    const hit = hits.find(({ id }) => id === 'b');
    t.like(hit, { video: clips[1], caption: 'red, then blue', duration: 4 });
    const scores = [0, 1, 2, 3].map((frame) => {
      const row = (truth.offsets[1] as number) + frame;
      return truth.frames.data
        .subarray(row * dimension, (row + 1) * dimension)
        .reduce((sum, value, column) => sum + value * (query.data[column] as number), 0);
    });
    t.true(Math.abs((hit?.moment?.score ?? 0) - Math.max(...scores)) < 1e-6);
    t.true([25, 35].includes(hit?.moment?.frame ?? 0));
    t.true([2.5, 3.5].includes(hit?.moment?.seconds ?? 0));
    const [plain] = await search(model, loaded, { text: 'blue' }, { k: 1 });
    t.is(plain?.moment, undefined);
    const [self] = await search(model, loaded, { video: clips[2] as string }, { k: 1 });
    t.is(self?.id, 'c');
    t.true((self?.score ?? 0) > 0.999);
  }
});

test('moments want an index of videos, whole', async (t) => {
  const { folder, out, model, embed } = await prepared(t);
  await embed();
  const index = path.join(folder, 'index');
  await buildIndex(out, index);
  await truncate(path.join(index, 'frames.bin'), 100);
  await dataError(t, () => loadIndex(index), /frames\.bin to have 384 bytes/);
  const entries = await readInput(await makeShapes(folder, 3), 'image', null);
  const images = path.join(folder, 'images-emb');
  await embedInto(model, entries, { modality: 'image', out: images, modelPath: path.join(folder, 'model') });
  const loaded = await loadIndex(images);
  await dataError(t, () => search(model, loaded, { text: 'a' }, { k: 1, moments: true }), /index of videos/);
});
