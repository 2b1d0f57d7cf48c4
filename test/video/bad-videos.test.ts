/** What cannot be read ends in a clear error, within bounds, and leaves no process. */
import { execFile } from 'node:child_process';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import type { CotsError, CotsErrorCode } from '../../lib/errors.js';
import { requireFfmpeg } from '../../lib/video/find-ffmpeg.js';
import { sampleFrames } from '../../lib/video/sample-frames.js';
import { type SampleOptions, sampleVideo } from '../../lib/video/sample-video.js';
import { temporaryFolder } from '../data/temporary.js';
import { childProcesses, fakeFfmpeg, ffmpeg, makeClip, useFfmpeg } from './clips.js';

const x264 = '-c:v libx264 -pix_fmt yuv420p';

const read = async (file: string, options: SampleOptions = {}): Promise<number> => {
  let count = 0;
  for await (const _ of sampleVideo(file, (table) => sampleFrames(table, { frames: 5 }), options)) count++;
  return count;
};

type Make = (folder: string) => Promise<string>;

const refused = test.macro({
  async exec(t, make: Make, code: CotsErrorCode, message: RegExp) {
    const file = await make(await temporaryFolder(t));
    const error = (await t.throwsAsync(read(file))) as CotsError;
    t.is(error.code, code);
    t.regex(error.message, message);
    t.deepEqual(await childProcesses(), []);
  },
  title: (name) => `refuses ${name}`,
});

const written =
  (content: string | Buffer, name = 'a.mp4'): Make =>
  async (folder) => {
    await writeFile(path.join(folder, name), content);
    return path.join(folder, name);
  };

/** The first part of a clip. */
const cut =
  (name: string, options: string, share: number): Make =>
  async (folder) => {
    const whole = await makeClip(path.join(folder, `whole-${name}`), options);
    const bytes = await readFile(whole);
    return written(bytes.subarray(0, bytes.length * share), name)(folder);
  };

test.serial(
  'no file',
  refused,
  async (folder: string) => path.join(folder, 'none.mp4'),
  'ERR_COTS_FILE',
  /no such file/,
);
test.serial('an empty file', refused, written(''), 'ERR_COTS_VIDEO', /an empty one/);
test.serial('a folder', refused, async (folder: string) => folder, 'ERR_COTS_VIDEO', /a folder/);
test.serial('text', refused, written('hello\n'.repeat(1000), 'a.txt'), 'ERR_COTS_VIDEO', /can be read whole/);
test.serial(
  'noise',
  refused,
  written(Buffer.alloc(100_000, 'x7\x00'), 'a.mp4'),
  'ERR_COTS_VIDEO',
  /can be read whole/,
);
test.serial('a device that never ends', refused, async () => '/dev/zero', 'ERR_COTS_VIDEO', /never end/);
test.serial(
  'a pipe',
  refused,
  async (folder: string) => {
    await promisify(execFile)('mkfifo', [path.join(folder, 'a.mp4')]);
    return path.join(folder, 'a.mp4');
  },
  'ERR_COTS_VIDEO',
  /never end/,
);
test.serial(
  'sound alone',
  refused,
  async (folder: string) => {
    await ffmpeg('-f', 'lavfi', '-i', 'sine=d=1', '-c:a', 'aac', path.join(folder, 'a.m4a'));
    return path.join(folder, 'a.m4a');
  },
  'ERR_COTS_VIDEO',
  /no stream of video/,
);
test.serial(
  'sound with a cover picture',
  refused,
  async (folder: string) => {
    const [sound, cover, both] = ['a.m4a', 'a.jpg', 'b.m4a'].map((name) => path.join(folder, name)) as [
      string,
      string,
      string,
    ];
    await ffmpeg('-f', 'lavfi', '-i', 'sine=d=1', '-c:a', 'aac', sound);
    await ffmpeg('-f', 'lavfi', '-i', 'testsrc=d=1', '-frames:v', '1', cover);
    await ffmpeg(
      '-i',
      sound,
      '-i',
      cover,
      '-map',
      '0',
      '-map',
      '1',
      '-c',
      'copy',
      '-disposition:v',
      'attached_pic',
      both,
    );
    return both;
  },
  'ERR_COTS_VIDEO',
  /no stream of video/,
);
test.serial(
  'an MP4 without its index',
  refused,
  cut('a.mp4', x264, 0.6),
  'ERR_COTS_VIDEO',
  /moov atom not found/,
);
test.serial(
  'an MP4 that ends early',
  refused,
  cut('a.mp4', `${x264} -movflags faststart`, 0.6),
  'ERR_COTS_VIDEO',
  /partial file|corrupt|Invalid/,
);
test.serial(
  'a Matroska file that ends early',
  refused,
  cut('a.mkv', x264, 0.6),
  'ERR_COTS_VIDEO',
  /ended prematurely/,
);
test.serial(
  'damaged pictures',
  refused,
  async (folder: string) => {
    const file = await makeClip(path.join(folder, 'a.mp4'), x264, { seconds: 4 });
    const handle = await open(file, 'r+');
    await handle.write(Buffer.alloc(4000, 0x5a), 0, 4000, 9000);
    await handle.close();
    return file;
  },
  'ERR_COTS_VIDEO',
  /can be read whole/,
);
test.serial(
  'a playlist, which names other files',
  refused,
  async (folder: string) => {
    await mkdir(path.join(folder, 'x'));
    await makeClip(path.join(folder, 'x', 'a.ts'), x264);
    return written('#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\nx/a.ts\n', 'a.m3u8')(folder);
  },
  'ERR_COTS_VIDEO',
  /can be read whole/,
);
test.serial(
  'a picture 100,000 pixels wide',
  refused,
  async (folder: string) => {
    const file = path.join(folder, 'a.gif');
    const gif = await ffmpeg('-f', 'lavfi', '-i', 'color=red:size=8x8:duration=0.2', '-f', 'gif', '-');
    gif.writeUInt16LE(65_535, 6);
    gif.writeUInt16LE(65_535, 8);
    await writeFile(file, gif);
    return file;
  },
  'ERR_COTS_VIDEO',
  /10000 pixels a side|can be read whole/,
);

test.serial('without an ffmpeg the way out is told', async (t) => {
  const folder = await temporaryFolder(t);
  const file = await makeClip(path.join(folder, 'a.mp4'), x264);
  useFfmpeg(t, path.join(folder, 'no-ffmpeg'));
  const error = (await t.throwsAsync(read(file))) as CotsError;
  t.is(error.code, 'ERR_COTS_INSTALL');
  t.regex(error.message, /COTS_FFMPEG=.*no-ffmpeg.*npm run setup/);
});

const endsAtOnce = test.macro({
  async exec(t, script: string, message: RegExp) {
    const folder = await temporaryFolder(t);
    const log = path.join(folder, 'runs');
    for (const name of ['a.mp4', 'a.mkv']) {
      const file = await makeClip(path.join(folder, name), x264); // it ends while decoding, or listing the packets
      await writeFile(log, '');
      useFfmpeg(t, await fakeFfmpeg(folder, `echo run >> '${log}'; ${script}`));
      const error = (await t.throwsAsync(read(file, { seconds: 1.2 }))) as CotsError;
      delete process.env['COTS_FFMPEG'];
      t.is(error.code, 'ERR_COTS_VIDEO');
      t.regex(error.message, message);
      t.is(await readFile(log, 'utf8'), 'run\n');
      t.deepEqual(await childProcesses(), []);
    }
  },
  title: (name) => `an ffmpeg ${name}, and is not tried again`,
});

test.serial('that hangs is ended when its time is up', endsAtOnce, 'exec sleep 600', /within 1\.2 s/);
test.serial('that is killed from outside is reported', endsAtOnce, 'kill -KILL $$', /killed by SIGKILL/);

test.serial('an ffmpeg that writes without end is ended', async (t) => {
  const folder = await temporaryFolder(t);
  const file = await makeClip(path.join(folder, 'a.mp4'), x264);
  useFfmpeg(t, await fakeFfmpeg(folder, "exec yes '[error] a complaint that never ends' >&2"));
  const before = process.memoryUsage().rss;
  const error = (await t.throwsAsync(read(file, { seconds: 1 }))) as CotsError;
  t.is(error.code, 'ERR_COTS_VIDEO');
  t.true(process.memoryUsage().rss - before < 2 ** 28);
  t.deepEqual(await childProcesses(), []);
});

test.serial('an abort ends ffmpeg and rejects with its reason', async (t) => {
  const folder = await temporaryFolder(t);
  const file = await makeClip(path.join(folder, 'a.mp4'), x264);
  useFfmpeg(t, await fakeFfmpeg(folder, 'exec sleep 600'));
  const controller = new AbortController();
  const reading = read(file, { signal: controller.signal });
  setTimeout(() => controller.abort(new Error('enough')), 200);
  await t.throwsAsync(reading, { message: 'enough' });
  t.deepEqual(await childProcesses(), []);
});

test.serial('leaving the loop ends ffmpeg', async (t) => {
  const file = await makeClip(path.join(await temporaryFolder(t), 'a.mp4'), x264, {
    seconds: 8,
    size: '320x240',
  });
  for await (const _ of sampleVideo(file, (table) => sampleFrames(table, { all: true }))) break;
  t.deepEqual(await childProcesses(), []);
});

test.serial('HDR with an ffmpeg that cannot tone-map says so', async (t) => {
  const folder = await temporaryFolder(t);
  const hdr = ',setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv';
  const x265 = '-c:v libx265 -x265-params log-level=none -pix_fmt yuv420p10le';
  const file = await makeClip(path.join(folder, 'a.mkv'), x265, { filters: hdr });
  const { path: real } = await requireFfmpeg();
  const without = `case "$*" in *zscale*) echo "[AVFilterGraph @ 0x1] [error] No such filter: 'zscale'" >&2; exit 8;; esac`;
  useFfmpeg(t, await fakeFfmpeg(folder, `${without}\nexec '${real}' "$@"`));
  const error = (await t.throwsAsync(read(file))) as CotsError;
  t.is(error.code, 'ERR_COTS_INSTALL');
  t.regex(error.message, /zscale.*a\.mkv is HDR.*COTS_FFMPEG/);
});

test.serial(
  'a clip takes two runs of ffmpeg, for the packets and the frames; one of H.264 in MP4 the second alone',
  async (t) => {
    const folder = await temporaryFolder(t);
    const { path: real } = await requireFfmpeg();
    const log = path.join(folder, 'runs');
    const logged = await fakeFfmpeg(folder, `echo "$*" >> '${log}'\nexec '${real}' "$@"`);
    for (const [name, options, count] of [
      ['a.mp4', x264, 1],
      ['a.mp4', `${x264} -x264-params keyint=10`, 1],
      ['a.mkv', `${x264} -x264-params keyint=10`, 2],
      ['a.mp4', '-c:v libx265 -x265-params keyint=10:log-level=none -pix_fmt yuv420p', 2],
    ] as const) {
      const file = await makeClip(path.join(folder, name), options, { seconds: 4 });
      await writeFile(log, '');
      useFfmpeg(t, logged);
      t.is(await read(file), 5);
      delete process.env['COTS_FFMPEG'];
      const runs = (await readFile(log, 'utf8')).trimEnd().split('\n');
      t.is(runs.length, count, runs.join('\n\n'));
      t.regex(runs.at(-1) as string, /noise=drop=/);
    }
  },
);

test.serial('an ffmpeg that cannot filter its input decodes everything instead', async (t) => {
  const folder = await temporaryFolder(t);
  const file = await makeClip(path.join(folder, 'a.mp4'), `${x264} -x264-params keyint=10`);
  const { path: real } = await requireFfmpeg();
  const old = `case "$*" in *-bsf:v*noise*) echo '[error] Option bsf (A comma-separated list) cannot be applied to input url x -- y' >&2; exit 1;; *filter_units*) echo '[error] Unknown bitstream filter filter_units' >&2; exit 1;; esac\nexec '${real}' "$@"`;
  useFfmpeg(t, await fakeFfmpeg(folder, old));
  t.is(await read(file), 5);
  t.is(await read(file), 5);
});
