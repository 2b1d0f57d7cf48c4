/** Frames and times of two clips against PyAV's (test/reference/make_video_fixtures.py). */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import test from 'ava';
import { KeyedRandom, sites } from '../../lib/data/random.js';
import { decodePlan, wholePlan } from '../../lib/video/decode-plan.js';
import { type FrameTable, frameTable } from '../../lib/video/frame-table.js';
import { readFrames, type VideoFrame } from '../../lib/video/read-frames.js';
import { type VideoSource, videoSource } from '../../lib/video/video-source.js';
import { fixturePath, maxDifference, readSettings } from '../support/fixtures.js';

type Expected = { times: number[]; sha256: string[] };
const expected = readSettings<{ width: number; height: number; rgb: Expected; yuv: Expected }>(
  'video/expected',
);
const bytes = 3 * expected.width * expected.height;

const open = async (name: 'rgb' | 'yuv'): Promise<{ source: VideoSource; table: FrameTable }> => {
  const source = await videoSource(fixturePath(`video/${name}.mp4`));
  return { source, table: await frameTable(source) };
};

const collect = async (frames: AsyncIterable<VideoFrame>): Promise<VideoFrame[]> => {
  const found: VideoFrame[] = [];
  for await (const frame of frames) found.push(frame);
  return found;
};

const hash = ({ data }: VideoFrame): string => createHash('sha256').update(data).digest('hex');

for (const name of ['rgb', 'yuv'] as const) {
  test(`${name}: the table has PyAV's frames and times`, async (t) => {
    const { table } = await open(name);
    t.is(table.timestamps.length, 40);
    t.true(maxDifference(table.timestamps, expected[name].times) < 1e-6);
    t.deepEqual([table.width, table.height], [expected.width, expected.height]);
    t.not(table.packets, null);
  });
}

test('any choice of frames gives these frames, bit for bit', async (t) => {
  const { source, table } = await open('rgb');
  const random = new KeyedRandom(1, sites.permutation);
  const choices = [
    [0],
    [39],
    [15, 16, 17],
    Array.from(table.timestamps, (_, index) => index),
    ...Array.from({ length: 6 }, (_, round) =>
      Array.from({ length: 40 }, (_, index) => index).filter(() => random.uniform() < 0.05 * (round + 1)),
    ),
  ].filter((choice) => choice.length > 0);
  for (const choice of choices) {
    const frames = await collect(readFrames(source, table, choice));
    t.deepEqual(
      frames.map(({ index }) => index),
      choice,
    );
    t.deepEqual(
      frames.map(hash),
      choice.map((index) => expected.rgb.sha256[index]),
    );
    for (const { index, timestamp } of frames)
      t.true(Math.abs(timestamp - (expected.rgb.times[index] as number)) < 1e-6);
  }
});

test('4:2:0 becomes the RGB that PyAV makes of it', async (t) => {
  const { source, table } = await open('yuv');
  const want = await readFile(fixturePath('video/yuv.bin'));
  const all = Array.from({ length: 40 }, (_, index) => index);
  for (const frame of await collect(readFrames(source, table, all))) {
    const truth = want.subarray(frame.index * bytes, (frame.index + 1) * bytes);
    t.true(maxDifference(frame.data, truth) <= 2); // versions of swscale may round apart
  }
});

test('the plan decodes less than everything up to the last frame, and threads change nothing', async (t) => {
  const { source, table } = await open('rgb');
  const choice = [3, 21, 37];
  const plan = decodePlan(table, choice);
  t.true(plan.decoded < 0.6 * wholePlan(table, choice).decoded, `${plan.decoded} packets`);
  t.deepEqual((await collect(readFrames(source, table, choice, { threads: 3 }))).map(hash), [
    expected.rgb.sha256[3],
    expected.rgb.sha256[21],
    expected.rgb.sha256[37],
  ]);
});
