/** A data set of small shapes and a config of a tiny model: whole runs in seconds. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import sharp from 'sharp';
import type { TrainConfigInput } from '../../lib/config/schema.js';

const colors = {
  red: [220, 30, 30],
  green: [30, 200, 40],
  blue: [30, 50, 220],
  yellow: [230, 220, 30],
} as const;
const grounds = { white: [250, 250, 250], black: [10, 10, 10], gray: [128, 128, 128] } as const;

/** A folder that is gone when the test ends. */
export async function temporaryFolder(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'cots-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export interface Shape {
  readonly id: string;
  readonly image: string;
  readonly captions: string[];
  readonly split: string;
}

/** Images of 24 x 24 pixels with a colored box each, and captions that name color, ground and place. Returns the manifest's path. */
export async function makeShapes(
  folder: string,
  count: number,
  split = 'train',
  name = 'manifest.jsonl',
): Promise<string> {
  await mkdir(path.join(folder, 'images'), { recursive: true });
  const lines: string[] = [];
  for (let index = 0; index < count; index++) {
    const { pixels, captions } = shape(index);
    const image = `images/${split}-${index}.png`;
    await sharp(pixels, { raw: { width: 24, height: 24, channels: 3 } })
      .png()
      .toFile(path.join(folder, image));
    lines.push(JSON.stringify({ id: `${split}-${index}`, image, captions, split } satisfies Shape));
  }

  const manifest = path.join(folder, name);
  await writeFile(manifest, `${lines.join('\n')}\n`);
  return manifest;
}

function shape(index: number): { pixels: Buffer; captions: string[] } {
  const colorNames = Object.keys(colors) as (keyof typeof colors)[];
  const groundNames = Object.keys(grounds) as (keyof typeof grounds)[];
  const color = colorNames[index % 4] as keyof typeof colors;
  const ground = groundNames[Math.floor(index / 4) % 3] as keyof typeof grounds;
  const place = Math.floor(index / 12) % 4;
  const [left, top] = [place % 2 === 0 ? 2 : 12, place < 2 ? 2 : 12];
  const pixels = Buffer.alloc(24 * 24 * 3);
  for (let y = 0; y < 24; y++) {
    for (let x = 0; x < 24; x++) {
      const inside = x >= left && x < left + 10 && y >= top && y < top + 10;
      const rgb = inside ? colors[color] : grounds[ground];
      for (let channel = 0; channel < 3; channel++)
        pixels[3 * (24 * y + x) + channel] = ((rgb[channel] as number) + index) % 256;
    }
  }

  const where = `${place < 2 ? 'top' : 'bottom'} ${place % 2 === 0 ? 'left' : 'right'}`;
  return {
    pixels,
    captions: [
      `a ${color} box on ${ground} at the ${where}`,
      `${where} there is a ${color} square, ground ${ground}`,
    ],
  };
}

/** 16 x 16 pixels in 4 patches, two layers of width 16; CMVM off unless `token.tokenizer` is set. */
export function tinyConfig(manifest: string, out: string, over: TrainConfigInput = {}): TrainConfigInput {
  return {
    model: {
      image: { size: 16, patch: 8, width: 16, layers: 2, heads: 2, mlpRatio: 2, dropPath: 0.1 },
      text: { width: 16, layers: 2, heads: 2, mlpRatio: 2, vocabSize: 80, maxPositions: 24, dropout: 0.1 },
      embedDim: 8,
      ...over.model,
    },
    queue: { size: 20, ...over.queue },
    amf: { k: 1, ...over.amf },
    loss: { tau: 0.1, ...over.loss, weights: { cmvm: 0, ...over.loss?.weights } },
    optim: { lr: 2e-3, ...over.optim },
    sched: { warmupSteps: 3, warmupFrom: 1e-4, minLr: 1e-4, ...over.sched },
    train: { batchSize: 8, steps: 12, threads: 1, seed: 7, out, ...over.train },
    data: { train: manifest, textMaxLen: 20, workers: 2, ...over.data },
    checkpoint: { everySteps: 5, keep: 3, ...over.checkpoint },
    ...(over.token === undefined ? {} : { token: over.token }),
    ...(over.tokenizer === undefined ? {} : { tokenizer: over.tokenizer }),
    ...(over.evaluate === undefined ? {} : { evaluate: over.evaluate }),
    ...(over.guard === undefined ? {} : { guard: over.guard }),
    ...(over.ema === undefined ? {} : { ema: over.ema }),
  };
}
