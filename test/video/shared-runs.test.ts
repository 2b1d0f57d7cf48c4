/** Several clips in one run of ffmpeg: each has the frames of a plain run, whatever happens to the others. */
import { copyFile, open, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { CotsError } from '../../lib/errors.js';
import { requireFfmpeg } from '../../lib/video/find-ffmpeg.js';
import { segmentMidpoints } from '../../lib/video/sample-frames.js';
import { type SampledFrame, type SampleOptions, sampleVideo } from '../../lib/video/sample-video.js';
import { SharedRuns } from '../../lib/video/shared-runs.js';
import { temporaryFolder } from '../data/temporary.js';
import { childProcesses, fakeFfmpeg, ffmpeg, makeClip, plainFrames, useFfmpeg } from './clips.js';

const x264 = '-c:v libx264 -pix_fmt yuv420p';

const sample = async (file: string, options: SampleOptions, frames = 5): Promise<SampledFrame[]> => {
  const found: SampledFrame[] = [];
  const middles = ({ timestamps }: { timestamps: Float64Array }) =>
    segmentMidpoints(timestamps.length, frames);
  for await (const frame of sampleVideo(file, middles, options)) found.push(frame);
  return found;
};

/** The frames are those of a plain run of ffmpeg that decodes all. */
const areExact = async (
  t: ExecutionContext,
  file: string,
  frames: readonly SampledFrame[],
): Promise<void> => {
  const truth = await plainFrames(file, (frames[0] as SampledFrame).data.length);
  t.deepEqual(
    frames.map(({ index }) => index),
    segmentMidpoints(truth.length, 5),
  );
  for (const { index, data } of frames) t.deepEqual(Buffer.from(data), truth[index], `${file}, ${index}`);
};

/** Clips of different pictures, lengths and sizes. */
const makeClips = (folder: string, count: number, output = x264): Promise<string[]> =>
  Promise.all(
    Array.from({ length: count }, (_, index) =>
      makeClip(path.join(folder, `${index}.mp4`), output, {
        seconds: 1 + index,
        size: `${66 + 2 * index}x50`,
        filters: `,hue=h=${40 * index}`,
      }),
    ),
  );

/** An ffmpeg that notes its runs, and runs `script` before those of several clips (`$real` is the true one). */
const noteRuns = async (
  t: ExecutionContext,
  folder: string,
  script = '',
): Promise<() => Promise<string[]>> => {
  const { path: real } = await requireFfmpeg();
  const log = path.join(folder, 'runs');
  await writeFile(log, '');
  const note = `real='${real}'; echo "$*" >> '${log}'; case "$*" in *-stats_enc_pre*) : ; ${script};; esac`;
  useFfmpeg(t, await fakeFfmpeg(folder, `${note}\nexec "$real" "$@"`));
  return async () => (await readFile(log, 'utf8')).trimEnd().split('\n');
};

const isShared = (run: string): boolean => run.includes('-stats_enc_pre');

test.serial('clips that are asked for together share runs, and have the frames of a plain run', async (t) => {
  const folder = await temporaryFolder(t);
  const clips = await makeClips(folder, 6);
  const turned = path.join(folder, 'turned.mp4');
  await ffmpeg('-display_rotation', '90', '-i', clips[0] as string, '-c', 'copy', turned);
  const others = [
    turned,
    await makeClip(path.join(folder, 'a.mkv'), `${x264} -x264-params open-gop=1:keyint=15:bframes=3`),
    await makeClip(path.join(folder, 'a.webm'), '-c:v libvpx-vp9 -g 20 -deadline realtime'),
    await makeClip(path.join(folder, 'a.gif'), '-an'),
  ];
  const all = [...clips, ...others];
  const read = await noteRuns(t, folder);
  const runs = new SharedRuns(2);
  const found = await Promise.all(all.map((clip) => sample(clip, { runs })));
  const shared = (await read()).filter(isShared);
  t.true(shared.length >= 3 && shared.length <= 5, `${shared.length} runs`);
  t.is(shared.join(' ').split(' -i file:').length - 1, all.length);
  t.deepEqual(await childProcesses(), []);
  for (const [index, clip] of all.entries()) await areExact(t, clip, found[index] as SampledFrame[]);
  const [first] = found[6] as [SampledFrame];
  t.deepEqual([first.width, first.height], [50, 66]);
});

test.serial('no more runs at a time than wished, also of clips that are read alone', async (t) => {
  const folder = await temporaryFolder(t);
  const clips = await makeClips(folder, 5);
  const { path: real } = await requireFfmpeg();
  const log = path.join(folder, 'log');
  const noted = `echo 1 >> '${log}'; '${real}' "$@"; code=$?; echo -1 >> '${log}'; exit $code`;
  useFfmpeg(t, await fakeFfmpeg(folder, noted));
  const runs = new SharedRuns(1);
  // `skipBlack` takes runs of its own.
  await Promise.all(clips.map((clip) => sample(clip, { runs, skipBlack: true })));
  let [running, most] = [0, 0];
  for (const step of (await readFile(log, 'utf8')).trimEnd().split('\n')) {
    running += Number(step);
    most = Math.max(most, running);
  }

  t.is(running, 0);
  t.true(most === 1 || most === 2, `${most} runs`); // the clip that was begun first may have one more
});

/** When 20,000 bytes of the last clip have come, which is one picture and a part of the next. */
const killedInTheMiddle =
  'mkfifo "$0.pipe"; "$real" "$@" 8>"$0.pipe" & head -c 20000 "$0.pipe" >&8; kill -KILL $! $$';

const trouble = test.macro({
  async exec(t, script: string, [least, most]: readonly [number, number]) {
    const folder = await temporaryFolder(t);
    const clips = await makeClips(folder, 4);
    const read = await noteRuns(t, folder, script);
    const runs = new SharedRuns(1, 1);
    const found = await Promise.all(clips.map((clip) => sample(clip, { runs })));
    t.is((await read()).filter(isShared).length, 1);
    const alone = (await read()).filter((run) => !isShared(run)).length;
    t.true(least <= alone && alone <= most, `${alone} clips`);
    t.deepEqual(await childProcesses(), []);
    for (const [index, clip] of clips.entries()) await areExact(t, clip, found[index] as SampledFrame[]);
  },
  title: (name) => `what is left is read alone after a run of several that ${name}`,
});

test.serial('is killed', trouble, 'kill -KILL $$', [4, 4]);
test.serial('fails', trouble, 'exit 1', [4, 4]);
test.serial('hangs', trouble, 'exec sleep 600', [4, 4]);
test.serial('complains', trouble, "echo '[h264 @ 0x1] [error] something is wrong' >&2", [4, 4]);
// Pictures go to 1, 4, 6 and 8, their times to 3, 5, 7 and 9.
test.serial(
  'tells no times',
  trouble,
  'exec "$real" "$@" 3>/dev/null 5>/dev/null 7>/dev/null 9>/dev/null',
  [4, 4],
);
test.serial('gives no pictures', trouble, 'exec "$real" "$@" >/dev/null 4>&1 6>&1 8>&1', [4, 4]);
test.serial('tells another time for one', trouble, 'echo 7 >&5', [1, 1]);
test.serial('gives a picture of another size for one', trouble, "printf 'P6\\n1 1\\n255\\nabc' >&4", [1, 1]);

test.serial('is killed in the middle of a clip', trouble, killedInTheMiddle, [1, 4]);

test.serial('a broken clip spoils no other, and the error names it', async (t) => {
  const folder = await temporaryFolder(t);
  const clips = await makeClips(folder, 4);
  const broken = path.join(folder, 'broken.mp4');
  await makeClip(broken, x264, { seconds: 4 });
  const handle = await open(broken, 'r+');
  await handle.write(Buffer.alloc(4000, 0x5a), 0, 4000, 9000);
  await handle.close();
  const runs = new SharedRuns(2);
  const all = [clips[0], broken, ...clips.slice(1)] as string[];
  const results = await Promise.allSettled(all.map((clip) => sample(clip, { runs })));
  const [bad] = results.splice(1, 1);
  t.is(bad?.status, 'rejected');
  const error = (bad as PromiseRejectedResult).reason as CotsError;
  t.is(error.code, 'ERR_COTS_VIDEO');
  t.regex(error.message, /broken\.mp4 to be a video that can be read whole/);
  for (const [index, clip] of clips.entries()) {
    const result = results[index] as PromiseFulfilledResult<SampledFrame[]>;
    t.is(result.status, 'fulfilled');
    await areExact(t, clip, result.value);
  }
  t.deepEqual(await childProcesses(), []);
});

test.serial('an abort of one clip leaves the others alone; of all, no process', async (t) => {
  const folder = await temporaryFolder(t);
  const clips = await makeClips(folder, 3);
  const { path: real } = await requireFfmpeg();
  useFfmpeg(t, await fakeFfmpeg(folder, `sleep 0.3; exec '${real}' "$@"`));
  const runs = new SharedRuns(1);
  const controller = new AbortController();
  const [first, second, third] = clips as [string, string, string];
  const aborted = sample(first, { runs, signal: controller.signal });
  const others = [second, third].map((clip) => sample(clip, { runs }));
  setTimeout(() => controller.abort(new Error('enough')), 100);
  await t.throwsAsync(aborted, { message: 'enough' });
  for (const [index, clip] of [second, third].entries())
    await areExact(t, clip, (await others[index]) as SampledFrame[]);
  t.deepEqual(await childProcesses(), []);

  useFfmpeg(t, await fakeFfmpeg(folder, 'exec sleep 600'));
  const all = new AbortController();
  const reading = clips.map((clip) => sample(clip, { runs, signal: all.signal }));
  setTimeout(() => all.abort(new Error('all')), 100);
  const results = await Promise.allSettled(reading);
  for (const result of results) t.is((result as PromiseRejectedResult).reason.message, 'all');
  t.deepEqual(await childProcesses(), []);
});

test.serial('leaving the loop of the last clip ends the run', async (t) => {
  const folder = await temporaryFolder(t);
  const clips = await makeClips(folder, 2, `${x264} -x264-params keyint=5`);
  const runs = new SharedRuns(1);
  const every = ({ timestamps }: { timestamps: Float64Array }) => [...timestamps.keys()];
  await Promise.all(
    clips.map(async (clip) => {
      for await (const _ of sampleVideo(clip, every, { runs })) break;
    }),
  );
  t.deepEqual(await childProcesses(), []);
  await areExact(t, clips[0] as string, await sample(clips[0] as string, { runs }));
});

test.serial('a clip that was begun first never waits for those after it', async (t) => {
  const folder = await temporaryFolder(t);
  const [clip] = (await makeClips(folder, 1)) as [string];
  for (const skipBlack of [false, true]) {
    const runs = new SharedRuns(1);
    const first = sample(clip, { runs, skipBlack });
    const second = runs.seat();
    await second.alone(); // the only run, and it lasts until the first clip is read
    await areExact(t, clip, await first);
    second.free();
  }
});

test.serial('a clip of many pixels is read alone', async (t) => {
  const folder = await temporaryFolder(t);
  const large = await makeClip(path.join(folder, 'large.mp4'), x264, { size: '1920x1080', seconds: 1 });
  const copy = path.join(folder, 'copy.mp4');
  await copyFile(large, copy);
  const read = await noteRuns(t, folder);
  const runs = new SharedRuns(2);
  for (const found of await Promise.all([large, copy].map((clip) => sample(clip, { runs }))))
    t.is(found.length, 5);
  t.deepEqual((await read()).filter(isShared), []);
});
