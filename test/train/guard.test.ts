/** Runs that learn nothing any more, made so by their data and weights: what they say, keep and end with (SPEC 3.8). */
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type CotsError, type TrainEvent, Trainer } from '../../lib/index.js';
import { float32, type RawTensor, readSafetensors, writeSafetensors } from '../support/safetensors.js';
import { type Config, fresh, lines, trained } from './runs.js';

/** The events of a run and the error it ended with. */
async function ended(
  t: ExecutionContext,
  config: Config,
): Promise<{ events: TrainEvent[]; error: CotsError }> {
  const trainer = await Trainer.create(config);
  t.teardown(() => trainer.dispose());
  const events: TrainEvent[] = [];
  const error = await t.throwsAsync(async () => {
    for await (const event of trainer.run()) events.push(event);
  });
  return { events, error: error as CotsError };
}

const codesOf = (events: readonly TrainEvent[]): string[] =>
  events.flatMap((event) => (event.type === 'warning' ? [event.code] : []));

test('from weights that overflow no step is taken, the ids are kept, and after guard.maxNonFinite steps the run stops', async (t) => {
  const { folder, out, config } = await fresh(t);
  await trained(config, { until: 1 });
  const init = path.join(folder, 'spoiled');
  await mkdir(init);
  for (const name of ['config.json', 'tokenizer.json', 'preprocessor_config.json'])
    await copyFile(path.join(out, 'latest', name), path.join(init, name));
  const weights = await readSafetensors(path.join(out, 'latest', 'model.safetensors'));
  const name = 'text.blocks.0.qkv.bias'; // finite, as a file must be; the products of queries and keys are not
  const { shape } = weights.get(name) as RawTensor;
  weights.set(name, float32(shape, new Array<number>(shape[0] as number).fill(3e38)));
  await writeSafetensors(path.join(init, 'model.safetensors'), weights);

  const spoiled = path.join(folder, 'run2');
  const { events, error } = await ended(t, {
    ...config,
    train: { ...config.train, init, out: spoiled },
    guard: { maxNonFinite: 3 },
  });
  t.is(error.code, 'ERR_COTS_NON_FINITE');
  t.regex(error.message, /up to step 3, 3 in a row.*Look at the pairs of non-finite\.jsonl/);
  t.is(codesOf(events).filter((code) => code === 'WARN_COTS_NON_FINITE').length, 3);
  const kept = (await lines(path.join(spoiled, 'non-finite.jsonl'))) as { step: number; ids: string[] }[];
  t.deepEqual(
    kept.map(({ step, ids }) => [step, ids.length]),
    [
      [1, 8],
      [2, 8],
      [3, 8],
    ],
  );
  t.regex(kept[0]?.ids[0] ?? '', /^train-\d+$/);
});

test('pairs that are all the same are told of when their scores no longer spread, and 100 steps later the run stops', async (t) => {
  const { folder, config } = await fresh(t);
  const manifest = path.join(folder, 'same.jsonl');
  const entries = Array.from({ length: 24 }, (_, index) => ({
    id: `same-${index}`,
    image: 'images/train-0.png',
    captions: ['a red box'],
    split: 'train',
  }));
  await writeFile(manifest, entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
  const { events, error } = await ended(t, {
    ...config,
    train: { ...config.train, steps: 200 },
    data: {
      ...config.data,
      train: manifest,
      aug: {
        crop: { scale: [1, 1], ratio: [1, 1] },
        flip: 0,
        jitter: { brightness: 0, contrast: 0, saturation: 0 },
      },
    },
    optim: { lr: 1e-9 },
    sched: { warmupSteps: 0, warmupFrom: 1e-9, minLr: 1e-9 },
  });
  t.is(error.code, 'ERR_COTS_COLLAPSED');
  const codes = codesOf(events);
  t.is(codes.filter((code) => code === 'WARN_COTS_LITTLE_SPREAD').length, 1);
  t.is(codes.filter((code) => code === 'WARN_COTS_COLLAPSE').length, 1);
  const warned = events.findIndex((event) => event.type === 'warning' && event.code === 'WARN_COTS_COLLAPSE');
  t.is(events.slice(warned).filter(({ type }) => type === 'step').length, 100);
});
