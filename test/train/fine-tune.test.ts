/** Fine-tuning: weights of a model, a rate a layer, several data sets, same images in the queue, the best evaluation. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { Cots } from '../../lib/index.js';
import { makeShapes } from '../support/tiny.js';
import { fresh, lines, run, trained, trainerJson, trainerOver } from './runs.js';

test('with layerDecay the words of the initial model stay nearer to where they were than its projections', async (t) => {
  const { folder, out, config } = await fresh(t);
  await trained(config, { until: 5 });
  const init = path.join(out, 'latest');
  const from = async (name: string, layerDecay: number): Promise<string> => {
    const run = path.join(folder, name);
    await trained({
      ...config,
      train: { ...config.train, steps: 6, init, out: run },
      optim: { lr: 2e-3, layerDecay },
    });
    return path.join(run, 'latest');
  };
  const [plain, decayed] = [await from('plain', 1), await from('decayed', 0.1)];
  const moved = async (folderName: string): Promise<number> => {
    const [before, after] = [await Cots.load(init), await Cots.load(folderName)];
    const [a, b] = [await before.embedTexts(['a red box']), await after.embedTexts(['a red box'])];
    before.dispose();
    after.dispose();
    return Math.hypot(...a.data.map((value, index) => value - (b.data[index] as number)));
  };
  t.true((await moved(decayed)) < 0.8 * (await moved(plain)));
});

test('a run cannot go on with another layerDecay, and can from a checkpoint that is older than the key', async (t) => {
  const { out, config } = await fresh(t);
  await trained(config, { until: 5 });
  await t.throwsAsync(trained({ ...config, optim: { lr: 2e-3, layerDecay: 0.5 } }, { resume: 'latest' }), {
    message: /differs in optim\.layerDecay \(checkpoint 1, run 0\.5\)/,
  });
  const file = path.join(out, 'latest', 'trainer.json');
  const state = (await trainerJson(path.join(out, 'latest'))) as {
    config: { optim: Record<string, unknown> };
  };
  delete state.config.optim['layerDecay'];
  await writeFile(file, JSON.stringify(state));
  t.deepEqual((await trained(config, { resume: 'latest' })).at(-1), {
    type: 'end',
    step: 12,
    reason: 'done',
  });
});

test('data sets with weights are drawn in their shares', async (t) => {
  const { folder, config } = await fresh(t, { train: { steps: 75 } }, 30);
  const other = await makeShapes(folder, 30, 'other', 'other.jsonl');
  const counts = { train: 0, other: 0 };
  const trainer = await trainerOver(
    t,
    {
      ...config,
      data: {
        ...config.data,
        train: [
          { path: path.join(folder, 'manifest.jsonl'), weight: 1 },
          { path: other, weight: 3, split: 'other' },
        ],
      },
      amf: { enabled: false },
    },
    (native) => ({
      step: (options) => {
        for (const id of options.batch.imageIds) counts[id < 30 ? 'train' : 'other']++;
        return native.step(options);
      },
    }),
  );
  await run(trainer);
  t.deepEqual(counts, { train: 150, other: 450 }); // 600 draws are five epochs of 120
});

test('of a queue that masks the same image, other captions of it are no negatives', async (t) => {
  // One image with its captions only: every queued pair is of the same image, so nothing is left to tell it from.
  const { folder, out, config } = await fresh(t);
  const manifest = path.join(folder, 'one.jsonl');
  const entry = { id: 'one', image: 'images/train-0.png', captions: ['a red box', 'a box'], split: 'train' };
  await writeFile(manifest, `${JSON.stringify(entry)}\n`);
  const losses = async (dupPolicy: 'keep' | 'mask_same_image'): Promise<number[]> => {
    const run = path.join(out, dupPolicy);
    await trained({
      ...config,
      queue: { size: 20, dupPolicy },
      data: { ...config.data, train: manifest },
      loss: { tau: 0.1, weights: { cmvm: 0, cmlm: 0 } },
      train: { ...config.train, steps: 3, out: run },
    });
    return (await lines(path.join(run, 'metrics.jsonl'))).map((row) => row['loss'] as number);
  };
  t.deepEqual(await losses('mask_same_image'), [0, 0, 0]);
  t.true(((await losses('keep'))[2] ?? 0) > 1);
});
