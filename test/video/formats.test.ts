/** Containers, codecs and oddities: the frames sampled are those that a plain run of ffmpeg gives. */
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import test from 'ava';
import { pack } from 'tar-stream';
import { memberLocation } from '../../lib/data/media.js';
import { wholePlan } from '../../lib/video/decode-plan.js';
import { frameTable } from '../../lib/video/frame-table.js';
import { listPackets } from '../../lib/video/list-packets.js';
import { sampleFrames, segmentMidpoints } from '../../lib/video/sample-frames.js';
import { type SampledFrame, sampleVideo } from '../../lib/video/sample-video.js';
import { videoSource } from '../../lib/video/video-source.js';
import { temporaryFolder } from '../data/temporary.js';
import { ffmpeg, makeClip, plainFrames } from './clips.js';

const x264 = '-c:v libx264 -pix_fmt yuv420p';

const sample = async (file: string, frames = 7): Promise<SampledFrame[]> => {
  const found: SampledFrame[] = [];
  for await (const frame of sampleVideo(file, (table) => sampleFrames(table, { frames }))) found.push(frame);
  return found;
};

const readsRight = test.macro({
  async exec(t, output: string, name: string, clip: object = {}) {
    const file = await makeClip(path.join(await temporaryFolder(t), name), output, clip);
    const frames = await sample(file);
    const [first] = frames as [SampledFrame];
    const truth = await plainFrames(file, first.data.length);
    const table = await frameTable(await videoSource(file));
    t.is(table.timestamps.length, truth.length);
    t.deepEqual(
      frames.map(({ index }) => index),
      sampleFrames(table, { frames: 7 }),
    );
    for (const { index, data } of frames) t.deepEqual(Buffer.from(data), truth[index]);
  },
  title: (name) => `reads ${name}`,
});

test('MP4, H.264', readsRight, x264, 'a.mp4');
test(
  'Matroska, H.264 with open groups',
  readsRight,
  `${x264} -x264-params open-gop=1:keyint=15:bframes=3`,
  'a.mkv',
);
test(
  'H.264 with intra refresh and no keyframes',
  readsRight,
  `${x264} -x264-params intra-refresh=1:keyint=15`,
  'a.mp4',
);
test('MPEG-TS, H.264', readsRight, x264, 'a.ts');
test(
  'HEVC with open groups',
  readsRight,
  '-c:v libx265 -x265-params keyint=15:log-level=none:open-gop=1 -pix_fmt yuv420p',
  'a.mp4',
);
test('10 bits', readsRight, '-c:v libx265 -x265-params log-level=none -pix_fmt yuv420p10le', 'a.mkv');
test(
  'WebM, VP9',
  readsRight,
  '-c:v libvpx-vp9 -auto-alt-ref 1 -lag-in-frames 16 -g 20 -deadline realtime',
  'a.webm',
);
test('GIF', readsRight, '-an', 'a.gif');
test('AVI without presentation times', readsRight, '-c:v mpeg4 -bf 2', 'a.avi');
test('MPEG-2 with B-frames', readsRight, '-c:v mpeg2video -bf 2', 'a.mpg');
test('odd sizes', readsRight, '-c:v ffv1 -pix_fmt bgr0', 'a.mkv', { filters: ',crop=61:37' });
test('one frame', readsRight, `${x264} -frames:v 1`, 'a.mp4');
test('an uneven frame rate', readsRight, `${x264} -fps_mode vfr`, 'a.mkv', {
  filters: ",setpts='PTS+if(gt(N,20),0.5/TB,0)',select='mod(n,3)'",
});

test('packets of VP8 that show nothing are not counted', async (t) => {
  const folder = await temporaryFolder(t);
  const file = path.join(folder, 'a.webm');
  const input = [
    '-f',
    'lavfi',
    '-i',
    'testsrc2=size=66x50:rate=25:duration=3',
    '-c:v',
    'libvpx',
    '-b:v',
    '100k',
  ];
  const pass = ['-passlogfile', path.join(folder, 'log'), '-auto-alt-ref', '1', '-lag-in-frames', '25'];
  await ffmpeg(...input, '-pass', '1', ...pass, '-f', 'null', '-');
  await ffmpeg(...input, '-pass', '2', ...pass, '-arnr-maxframes', '5', '-arnr-strength', '3', file);
  const source = await videoSource(file);
  const list = await listPackets(source, {});
  t.is((await frameTable(source)).timestamps.length, 75);
  t.true(list.packets.length > 75, `${list.packets.length} packets`);
  const truth = await plainFrames(file, 3 * 66 * 50);
  t.is(truth.length, 75);
  const frames = await sample(file);
  t.deepEqual(
    frames.map(({ index }) => index),
    segmentMidpoints(75, 7),
  );
  for (const { index, data } of frames) t.deepEqual(Buffer.from(data), truth[index]);
});

test('rotation is applied, and the size is that of the turned picture', async (t) => {
  const folder = await temporaryFolder(t);
  const flat = await makeClip(path.join(folder, 'flat.mp4'), x264);
  const turned = path.join(folder, 'turned.mp4');
  await ffmpeg('-display_rotation', '90', '-i', flat, '-c', 'copy', turned);
  const [[frame], [other]] = [await sample(turned, 1), await sample(flat, 1)];
  t.deepEqual([frame?.width, frame?.height], [other?.height, other?.width]);
  const { data, width, height } = frame as SampledFrame;
  const at = (image: Uint8Array, columns: number, x: number, y: number): number[] => [
    ...image.subarray(3 * (y * columns + x), 3 * (y * columns + x) + 3),
  ];
  // Turned counterclockwise: the right column becomes the top row.
  for (const [x, y] of [
    [0, 0],
    [5, 9],
    [width - 1, height - 1],
  ] as const)
    t.deepEqual(at(data, width, x, y), at((other as SampledFrame).data, height, height - 1 - y, x));
});

/** What a gray of PQ becomes (SMPTE ST 2084, Hable's curve with a peak of 1,000 nits, the inverse of BT.1886), 0 to 255. */
const toneMapped = (code: number): number => {
  const root = ((code - 64) / 876) ** (32 / 2523);
  const nits = 10_000 * (Math.max(root - 107 / 128, 0) / (2413 / 128 - (2392 / 128) * root)) ** (8192 / 1305);
  const hable = (x: number): number =>
    (x * (0.15 * x + 0.05) + 0.004) / (x * (0.15 * x + 0.5) + 0.06) - 1 / 15;
  return 255 * (hable(nits / 100) / hable(10)) ** (1 / 2.4);
};

test('HDR is brought to the range of a plain screen', async (t) => {
  const folder = await temporaryFolder(t);
  for (const code of [300, 400, 508]) {
    const file = path.join(folder, `${code}.mkv`);
    const gray = `color=gray:size=64x64:rate=5:duration=1,format=yuv420p10le,geq=lum=${code}:cb=512:cr=512`;
    const hdr = 'setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv';
    const x265 = '-c:v libx265 -x265-params log-level=none -pix_fmt yuv420p10le';
    await ffmpeg('-f', 'lavfi', '-i', `${gray},${hdr}`, ...x265.split(' '), file);
    t.is((await frameTable(await videoSource(file))).transfer, 'smpte2084');
    const [frame] = await sample(file, 1);
    for (const value of (frame as SampledFrame).data.subarray(6000, 6003))
      t.true(Math.abs(value - toneMapped(code)) < 3, `${value}, ${toneMapped(code)}`);
  }
});

test('an edit list cuts the beginning, and times begin where the edit does', async (t) => {
  const folder = await temporaryFolder(t);
  const whole = await makeClip(path.join(folder, 'whole.mp4'), x264, { seconds: 4 });
  const cut = path.join(folder, 'cut.mp4');
  await ffmpeg('-ss', '1.3', '-i', whole, '-c', 'copy', '-t', '2', cut);
  const frames = await sample(cut);
  const truth = await plainFrames(cut, (frames[0] as SampledFrame).data.length);
  const table = await frameTable(await videoSource(cut));
  t.is(table.timestamps.length, truth.length);
  t.true(Math.abs(table.timestamps[0] as number) < 0.04);
  t.true((table.packets?.length ?? 0) > truth.length); // some are decoded and not shown
  for (const { index, data } of frames) t.deepEqual(Buffer.from(data), truth[index]);
});

test('a stream that begins in the middle of a group is counted by decoding', async (t) => {
  const folder = await temporaryFolder(t);
  const whole = path.join(folder, 'whole.ts');
  await makeClip(whole, `${x264} -x264-params keyint=20:min-keyint=20:scenecut=0`, { seconds: 4 });
  const late = path.join(folder, 'late.ts');
  await writeFile(late, (await readFile(whole)).subarray(188 * 100));
  const frames = await sample(late);
  const truth = await plainFrames(late, (frames[0] as SampledFrame).data.length);
  t.true(truth.length > 20 && truth.length < 100);
  t.deepEqual(
    frames.map(({ index }) => index),
    sampleFrames({ timestamps: new Float64Array(truth.length), duration: 1 }, { frames: 7 }),
  );
  for (const { index, data } of frames) t.deepEqual(Buffer.from(data), truth[index]);
});

test('names that look like options, protocols and patterns are names', async (t) => {
  const folder = await temporaryFolder(t);
  const plain = await makeClip(path.join(folder, 'plain.mp4'), x264);
  const [want] = await sample(plain, 1);
  for (const name of ['-i.mp4', 'http:a.mp4', 'a%03d.mp4', "it's [1],;=.mp4", 'a b|c.mp4']) {
    await copyFile(plain, path.join(folder, name));
    const [frame] = await sample(path.relative('.', path.join(folder, name)), 1);
    t.deepEqual(frame?.data, want?.data, name);
  }
});

test('a member of a shard is read in place', async (t) => {
  const folder = await temporaryFolder(t);
  const shard = path.join(folder, 'a:b,c.tar');
  const clips = await Promise.all(
    [2, 3].map((seconds) => makeClip(path.join(folder, `${seconds}.mp4`), x264, { seconds })),
  );
  const tar = pack();
  for (const [index, clip] of clips.entries()) tar.entry({ name: `${index}.mp4` }, await readFile(clip));
  tar.finalize();
  await writeFile(shard, await buffer(tar));
  for (const [index, clip] of clips.entries()) {
    const inside = await sample(memberLocation(shard, `${index}.mp4`));
    const outside = await sample(clip);
    t.deepEqual(
      inside.map(({ index: frame, data }) => ({ frame, data })),
      outside.map(({ index: frame, data }) => ({ frame, data })),
    );
  }
});

test('frames are given to the last one of a long list', async (t) => {
  const file = await makeClip(path.join(await temporaryFolder(t), 'a.mp4'), x264, { seconds: 20 });
  const table = await frameTable(await videoSource(file));
  const odd = Array.from(table.timestamps, (_, frame) => frame).filter((frame) => frame % 2 === 1);
  t.is(wholePlan(table, odd).decoded, 500);
  const found: number[] = [];
  for await (const { index } of sampleVideo(file, () => odd)) found.push(index);
  t.deepEqual(found, odd);
});
