/** Runs on clips: they resume as runs on images do, and the same pixels as a picture or as a clip train alike. */
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import sharp from 'sharp';
import { writeManifest } from '../../lib/data/manifest.js';
import { temporaryFolder, tinyConfig } from '../support/tiny.js';
import { ffmpeg } from '../video/clips.js';
import { hash, lines, trained, untimed } from './runs.js';

const colors = ['red', 'green', 'blue', 'gold', 'gray', 'navy'];

/** Clips of `frames` frames of one color each, or the same as pictures. */
async function manifestOf(t: ExecutionContext, kind: 'image' | 'video', frames: number): Promise<string> {
  const folder = await temporaryFolder(t);
  for (const color of colors) {
    const file = path.join(folder, color);
    const still = { width: 24, height: 24, channels: 3 as const };
    await sharp({ create: { ...still, background: color } })
      .png()
      .toFile(`${file}.png`);
    await ffmpeg(
      ...['-loop', '1', '-i', `${file}.png`, '-frames:v', String(frames), '-c:v', 'ffv1', '-pix_fmt', 'bgr0'],
      `${file}.mkv`,
    );
  }

  const manifest = path.join(folder, 'manifest.jsonl');
  await writeManifest(
    manifest,
    colors.map((color) => ({
      id: color,
      [kind]: `${color}.${kind === 'image' ? 'png' : 'mkv'}`,
      captions: [`a ${color} scene`, `all is ${color}`],
      split: 'train',
      source: '',
    })),
  );
  return manifest;
}

const steps = 6;

const configOf = (manifest: string) =>
  tinyConfig(manifest, path.join(path.dirname(manifest), 'run'), {
    train: { batchSize: 4, steps, threads: 1, seed: 7, frames: 3 },
    checkpoint: { everySteps: 3, keep: 3 },
  });

test('a run on clips that was stopped goes on bit for bit', async (t) => {
  const whole = configOf(await manifestOf(t, 'video', 5));
  await trained(whole);
  const stopped = { ...whole, train: { ...whole.train, out: `${whole.train?.out}-stopped` } };
  await trained(stopped, { until: 3 });
  await trained(stopped, { resume: 'latest' });
  const [one, other] = [whole.train?.out as string, stopped.train.out];
  t.deepEqual(
    untimed(await lines(path.join(one, 'metrics.jsonl'))),
    untimed(await lines(path.join(other, 'metrics.jsonl'))),
  );
  t.is(
    await hash(path.join(one, 'latest', 'model.safetensors')),
    await hash(path.join(other, 'latest', 'model.safetensors')),
  );
});

test('clips of one frame train as pictures do', async (t) => {
  const [clips, pictures] = [
    configOf(await manifestOf(t, 'video', 1)),
    configOf(await manifestOf(t, 'image', 1)),
  ];
  await trained(clips);
  await trained(pictures);
  t.is(
    await hash(path.join(clips.train?.out as string, 'latest', 'model.safetensors')),
    await hash(path.join(pictures.train?.out as string, 'latest', 'model.safetensors')),
  );
});
