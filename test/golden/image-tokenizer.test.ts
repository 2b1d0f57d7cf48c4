/** Discrete VAEs of both kinds against test/reference/dvae_reference.py. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { binding, type NativeTokenizerConfig } from '../../lib/binding.js';
import { fixturePath, maxDifference, pick, readSettings, readTensors } from '../support/fixtures.js';

const kinds: { name: 'openai' | 'small'; config: NativeTokenizerConfig }[] = [
  {
    name: 'openai',
    config: { arch: 'openai', vocab: 32, hidden: 8, codebookDim: 8, blocks: 2, pixels: 'map_pixels' },
  },
  {
    name: 'small',
    config: { arch: 'small', vocab: 32, hidden: 16, codebookDim: 8, blocks: 2, pixels: 'mean_std_half' },
  },
];

for (const { name, config } of kinds) {
  test(`${name}: tokens and reconstruction are PyTorch's`, async (t) => {
    const tensors = readTensors('dvae');
    const images = pick(tensors, 'images', Uint8Array);
    const tokenizer = await binding().loadTokenizer({
      config,
      file: fixturePath(`dvae-${name}.safetensors`),
      threads: 1,
    });
    t.deepEqual(
      await tokenizer.tokens({ images, count: 3, size: 48, cancel: null }),
      pick(tensors, `${name}_tokens`, Int32Array),
    );
    const pixels = await tokenizer.reconstruct({ images, count: 3, size: 48, cancel: null });
    const expected = pick(tensors, `${name}_pixels`, Float32Array); // [3, 3, 48, 48] in [0, 1]
    const plane = 48 * 48;
    const channelsLast = Float32Array.from(
      pixels,
      (_, i) =>
        255 *
        (expected[Math.floor(i / (3 * plane)) * 3 * plane + (i % 3) * plane + (Math.floor(i / 3) % plane)] ??
          Number.NaN),
    );
    t.true(maxDifference(pixels, channelsLast) <= 0.51, 'rounded to bytes, no further than half a level');
    tokenizer.dispose();
  });
}

test("the full-size network has OpenAI's tensors, by name and shape", async (t) => {
  const { layers } = readSettings<{
    layers: { encoder: Record<string, number[]>; decoder: Record<string, number[]> };
  }>('dvae');
  const folder = await mkdtemp(path.join(os.tmpdir(), 'cots-dvae-'));
  t.teardown(async () => rm(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'dvae.safetensors');
  const optimizer = {
    lr: 1e-4,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weightDecay: 0,
    clipGrad: 0,
    warmupSteps: 0,
    warmupFrom: 0,
    minLr: 0,
    totalSteps: 1,
  };
  const trainer = await binding().createTokenizerTrainer({
    config: {
      tokenizer: {
        arch: 'openai',
        vocab: 8192,
        hidden: 256,
        codebookDim: 128,
        blocks: 2,
        pixels: 'map_pixels',
      },
      reconstruction: 'logit_laplace',
      temperatureStart: 1,
      temperatureMin: 0.0625,
      temperatureRate: 1e-4,
      klWeight: 6.6,
      klWarmupSteps: 0,
      optimizer,
      lrDecay: 1,
      seed: 0,
    },
    threads: 2,
  });
  await trainer.save({ file });
  trainer.dispose();
  const header = await binding().readSafetensorsHeader({ file });
  const found = Object.fromEntries(header.map(({ name, shape }) => [name, shape]));
  const expected = {
    ...layers.encoder,
    ...Object.fromEntries(Object.entries(layers.decoder).map(([key, shape]) => [`decoder.${key}`, shape])),
  };
  t.deepEqual(Object.keys(found).sort(), Object.keys(expected).sort());
  t.deepEqual(found, expected);
  t.is(Object.keys(layers.encoder).length, 74);
});
