/** Clips of the emoji scenes: they play, show what their captions say, and the same seed gives the same bytes. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { shotSeconds } from '../../examples/emoji-scenes/clip-scene.js';
import { type ClipRow, generateScenes } from '../../examples/emoji-scenes/generate.js';
import { backgroundColors } from '../../examples/emoji-scenes/scene.js';
import { packageRoot } from '../../lib/binding.js';

const run = promisify(execFile);

/** The ffmpeg that the set-up found or brought. */
const findFfmpeg = async (): Promise<string> => {
  const state = JSON.parse(await readFile(path.join(packageRoot(), 'build', 'setup.json'), 'utf8')) as {
    ffmpeg: { path: string } | null;
  };
  if (state.ffmpeg === null)
    throw new Error('The set-up found no ffmpeg: run `node scripts/setup.mjs` and read its line on ffmpeg.');
  return state.ffmpeg.path;
};

const size = 96;
const fps = 12;
const onlyClips = { count: 0, validation: 0, test: 0, clips: 6, seed: 5, clipSize: size, clipFps: fps };

const made = async (out: string, concurrency: number): Promise<ClipRow[]> => {
  const { manifest } = await generateScenes({ ...onlyClips, out, ffmpeg: await findFfmpeg(), concurrency });
  const lines = (await readFile(manifest, 'utf8')).trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as ClipRow);
};

/** All frames of a clip as RGB. */
const framesOf = async (file: string): Promise<Buffer[]> => {
  const decode = ['-loglevel', 'error', '-i', file, '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-'];
  const { stdout } = await run(await findFfmpeg(), decode, { encoding: 'buffer', maxBuffer: 2 ** 28 });
  const bytes = size * size * 3;
  return Array.from({ length: stdout.length / bytes }, (_, i) => stdout.subarray(i * bytes, (i + 1) * bytes));
};

/** Mean of the pixels of a frame that lie further than video coding goes from the background: where the emoji is. */
const centerOf = (frame: Buffer, background: readonly number[]): { x: number; y: number; pixels: number } => {
  let [x, y, pixels] = [0, 0, 0];
  for (let at = 0; at < size * size; at++) {
    const distance = background.reduce(
      (sum, value, c) => sum + Math.abs(value - (frame[at * 3 + c] as number)),
      0,
    );
    if (distance < 40) continue;
    x += at % size;
    y += Math.floor(at / size);
    pixels += 1;
  }
  return { x: x / pixels, y: y / pixels, pixels };
};

/** -1, 0 or 1: less than a tenth of the frame is no movement, but a drawing that is not symmetric, scaled. */
const directionOf = (pixels: number): number => (Math.abs(pixels) < size / 10 ? 0 : Math.sign(pixels));

test('clips play, move as their captions say, and are the same bytes for the same seed', async (t) => {
  const folders = await Promise.all([1, 2].map(() => mkdtemp(path.join(tmpdir(), 'cots-clips-'))));
  t.teardown(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))));
  const [first, second] = folders as [string, string];
  const rows = await made(first, 1);
  t.deepEqual(await made(second, 3), rows);
  t.is(rows.length, onlyClips.clips);
  const shotFrames = shotSeconds * fps;
  for (const row of rows) {
    const file = path.join(first, row.video);
    t.deepEqual(await readFile(file), await readFile(path.join(second, row.video)));
    t.is(new Set(row.captions).size, 5);
    const frames = await framesOf(file);
    t.is(frames.length, row.scene.shots.length * shotFrames);
    for (const [i, shot] of row.scene.shots.entries()) {
      t.is(shot.start * fps, i * shotFrames);
      const color = backgroundColors.find(({ name }) => name === shot.background)?.rgb ?? [];
      const begin = centerOf(frames[i * shotFrames] as Buffer, color);
      const end = centerOf(frames[(i + 1) * shotFrames - 1] as Buffer, color);
      const say = `${row.id} ${shot.concept} ${shot.motion}`;
      const horizontal = { left: -1, right: 1 }[shot.motion] ?? 0;
      const vertical = { up: -1, down: 1 }[shot.motion] ?? 0;
      t.is(directionOf(end.x - begin.x), horizontal, say);
      t.is(directionOf(end.y - begin.y), vertical, say);
      const growth = end.pixels / begin.pixels;
      t.true(
        shot.motion === 'grow'
          ? growth > 2
          : shot.motion === 'shrink'
            ? growth < 0.5
            : Math.abs(growth - 1) < 0.25,
        `${say} ${growth}`,
      );
    }
  }
});

test('captions of a clip tell its shots in order', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'cots-clips-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const verbs: Record<string, RegExp> = {
    left: /from right to left|slides to the left/,
    right: /from left to right|slides to the right/,
    up: /moves up|rises/,
    down: /moves down|falls/,
    grow: /grows|gets bigger/,
    shrink: /shrinks|gets smaller/,
    still: /stands still|does not move/,
  };
  for (const row of await made(folder, 2)) {
    for (const caption of row.captions) {
      const clauses = caption.split(/, then | and then |, after that /);
      t.is(clauses.length, row.scene.shots.length);
      for (const [i, shot] of row.scene.shots.entries())
        t.regex(clauses[i] as string, verbs[shot.motion] as RegExp);
    }
  }
});

test('an ffmpeg that does not start or fails is told', async (t) => {
  const out = await mkdtemp(path.join(tmpdir(), 'cots-clips-'));
  t.teardown(() => rm(out, { recursive: true }));
  await t.throwsAsync(generateScenes({ ...onlyClips, out, ffmpeg: path.join(out, 'no-ffmpeg') }), {
    code: 'ERR_COTS_INSTALL',
    message: /`ffmpeg` to name an ffmpeg that runs, got .*no-ffmpeg/,
  });
  await t.throwsAsync(generateScenes({ ...onlyClips, out, ffmpeg: process.execPath }), {
    code: 'ERR_COTS_VIDEO',
  });
});
