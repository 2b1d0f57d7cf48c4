/** The ablation on emoji scenes: its runs and configs, what it sums up, and its figure. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import sharp from 'sharp';
import { ablationSvg, writePng } from '../../examples/emoji-scenes/ablation/figure.js';
import {
  claimFolder,
  Folders,
  noiseShares,
  plannedRuns,
  runConfig,
  variants,
} from '../../examples/emoji-scenes/ablation/plan.js';
import { reportedRuns, writeReport } from '../../examples/emoji-scenes/ablation/report.js';
import { summarize } from '../../examples/emoji-scenes/ablation/summary.js';
import { type RunResult, readResult, trainRun } from '../../examples/emoji-scenes/ablation/train-run.js';
import { resolveConfig } from '../../lib/config/load.js';
import type { TrainConfig } from '../../lib/config/schema.js';
import { kindOf } from '../../lib/read-file.js';
import { RunLock } from '../../lib/train/run-lock.js';
import { Trainer } from '../../lib/train/trainer.js';
import { makeShapes, temporaryFolder, tinyConfig } from '../support/tiny.js';

function result(variant: RunResult['variant'], noise: number, seed: number, rsum: number): RunResult {
  const direction = { r1: rsum / 10, r5: rsum / 5, r10: rsum / 4 };
  const recall = { imageToText: direction, textToImage: direction, rsum };
  return {
    variant,
    noise,
    seed,
    steps: 800,
    test: recall,
    unseen: { ...recall, rsum: rsum / 2 },
    filter: null,
    losses: { total: 1, instance: 1, task: 0, cmvm: 0, cmlm: 0 },
    seconds: 100 + seed,
    peakBytes: 1,
    capability: 'AVX2',
  };
}

test('every variant runs on clean and noisy captions with every seed, a whole table of a seed at a time', (t) => {
  const runs = plannedRuns(3);
  t.is(runs.length, variants.length * noiseShares.length * 3);
  t.is(new Set(runs.map((run) => new Folders('/x').run(run))).size, runs.length);
  t.true(runs.slice(0, variants.length * noiseShares.length).every(({ seed }) => seed === 0));
});

test('the variants differ in their losses and filter alone', async (t) => {
  const configs = await Promise.all(
    variants.map(({ name }) => runConfig({ variant: name, noise: 0.3, seed: 1 }, new Folders('/x'), [])),
  );
  const terms = configs.map(({ loss: { weights }, amf }) => [
    ...[weights.instance, weights.task, weights.cmvm, weights.cmlm].map(Math.sign),
    amf.enabled ? amf.k : 0,
  ]);
  t.deepEqual(terms, [
    [1, 0, 0, 0, 0],
    [1, 1, 0, 0, 0],
    [1, 0, 1, 0, 0],
    [1, 0, 0, 1, 0],
    [1, 0, 1, 1, 0],
    [1, 1, 1, 1, 0],
    [1, 1, 1, 1, 1],
    [1, 1, 1, 1, 2],
  ]);
  const shared = configs.map(({ loss, amf, train, ...rest }) => ({
    ...rest,
    loss: { ...loss, weights: null },
    amf: { ...amf, enabled: null, k: null },
    train: { ...train, out: null },
  }));
  for (const config of shared) t.deepEqual(config, shared[0]);
  t.is(shared[0]?.data.train[0]?.path, '/x/scenes-30/manifest.jsonl');
  t.like(shared[0]?.train, { seed: 1, steps: 800 });
});

test('means, spreads, and gains over the instance level of the same seed', (t) => {
  const rows = summarize([
    result('instance-task', 0.3, 1, 130),
    result('instance', 0.3, 0, 100),
    result('instance', 0.3, 1, 120),
    result('instance-task', 0.3, 0, 104),
    result('instance-task', 0.3, 2, 500),
  ]);
  t.deepEqual(
    rows.map(({ variant, rsums }) => [variant, rsums]),
    [
      ['instance', [100, 120]],
      ['instance-task', [104, 130, 500]],
    ],
  );
  t.is(rows[0]?.gain, null);
  t.is(rows[0]?.rsum.mean, 110);
  t.true(Math.abs((rows[0]?.rsum.std ?? 0) - Math.sqrt(200)) < 1e-9);
  t.is(rows[1]?.gain?.mean, 7);
  t.true(Math.abs((rows[1]?.gain?.std ?? 0) - Math.sqrt(18)) < 1e-9);
  t.is(rows[1]?.secondsPerRun, 101);
});

test('the figure has a dot a run, in the panel of its noise, and is drawn', async (t) => {
  const results = plannedRuns(3).map(({ variant, noise, seed }, index) =>
    result(variant, noise, seed, 100 + index),
  );
  const svg = ablationSvg(summarize(results), 'caption');
  const dots = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [
    Number(x),
    Number(y),
  ]);
  t.is(dots.length, results.length);
  t.is(dots.filter(([x = 0]) => x < 610).length, results.length / 2);
  t.is(new Set(dots.map(([, y]) => y)).size, variants.length);
  for (const { title } of variants) t.true(svg.includes(`>${title}</text>`));
  t.notRegex(svg, /NaN|undefined/);
  const file = path.join(await temporaryFolder(t), 'ablation.png');
  await writePng(svg, file);
  t.true(((await sharp(file).metadata()).width ?? 0) > 1000);
});

test('a folder of other settings is refused, one of the same is gone on with', async (t) => {
  const folders = new Folders(path.join(await temporaryFolder(t), 'new'));
  await t.throwsAsync(claimFolder(folders, 100, ['train.stepz=5']), { message: /train\.stepz/ });
  t.is(await kindOf(folders.out), undefined, 'nothing is made before the settings are right');
  await claimFolder(folders, 100, ['train.steps=5']);
  await t.notThrowsAsync(claimFolder(folders, 100, ['train.steps=5']));
  await t.throwsAsync(claimFolder(folders, 100, ['train.steps=6']), { message: /runs of others/ });
  await t.throwsAsync(claimFolder(folders, 101, ['train.steps=5']), { message: /Name another folder/ });
});

test('runs of a report at the same settings count as done, those at others do not', async (t) => {
  const out = await temporaryFolder(t);
  const options = { out, seeds: 1, scenes: 100, overrides: [] };
  const folders = new Folders(path.join(out, 'runs'));
  const hash = await claimFolder(folders, 100, ['train.steps=5']);
  t.is(await claimFolder(folders, 100, ['train.steps=5']), hash);
  t.deepEqual(await reportedRuns(options, hash), []);
  const runs = [result('instance', 0.3, 0, 100), result('all', 0, 1, 120)];
  await writeReport(runs, options, await runConfig(runs[0] as RunResult, folders, []), hash);
  t.deepEqual(await reportedRuns(options, hash), runs);
  t.deepEqual(await reportedRuns({ ...options, json: path.join(out, 'ablation.json') }, hash), runs);
  const other = await claimFolder(new Folders(path.join(out, 'other')), 100, ['train.steps=6']);
  t.deepEqual(await reportedRuns(options, other), []);
});

test('a run without its result is not done', async (t) => {
  const folder = path.join(await temporaryFolder(t), 'run');
  t.is(await readResult(folder), undefined);
  await mkdir(folder);
  t.is(await readResult(folder), undefined);
  await writeFile(path.join(folder, 'result.json'), JSON.stringify(result('all', 0, 0, 5)));
  t.is((await readResult(folder))?.test.rsum, 5);
});

test('a run that was stopped ends as one that was not, and keeps its result alone', async (t) => {
  const folder = await temporaryFolder(t);
  const manifest = await scenes(folder);
  const config = (name: string) =>
    resolveConfig(tinyConfig(manifest, path.join(folder, name), { amf: { k: 1, minValid: 8, log: 'all' } }));
  const run = { variant: 'all', noise: 0.3, seed: 0 } as const;
  const whole = { title: 'run', signal: new AbortController().signal };
  const straight = (await trainRun(run, config('straight'), manifest, whole)) as RunResult;

  const stopped = config('stopped');
  await trainUntil(stopped, 7);
  t.is(await trainRun(run, stopped, manifest, { title: 'run', signal: AbortSignal.abort() }), 'stopped');
  t.is(await readResult(stopped.train.out), undefined);
  const lock = await RunLock.take(path.join(stopped.train.out, 'ablation'));
  t.is(await trainRun(run, stopped, manifest, whole), 'busy');
  lock.release();
  const resumed = (await trainRun(run, stopped, manifest, whole)) as RunResult;

  t.like(resumed, { variant: 'all', noise: 0.3, seed: 0, steps: 12 });
  t.is(resumed.filter?.mismatched, 3);
  for (const key of ['steps', 'losses', 'filter', 'test', 'unseen'] as const)
    t.deepEqual(resumed[key], straight[key], key);
  t.deepEqual(await readResult(stopped.train.out), resumed);
  t.deepEqual(
    await trainRun(run, stopped, manifest, whole),
    resumed,
    'another process has ended it meanwhile',
  );
  t.deepEqual((await readdir(stopped.train.out)).sort(), [
    'ablation',
    'config.yaml',
    'metrics.jsonl',
    'non-finite.jsonl',
    'result.json',
  ]);
});

/** Shapes of three splits in one manifest, three of the training ones marked as mismatched. */
async function scenes(folder: string): Promise<string> {
  const files = [
    await makeShapes(folder, 24, 'train', 'train.jsonl'),
    await makeShapes(folder, 12, 'test', 'test.jsonl'),
    await makeShapes(folder, 12, 'unseen', 'unseen.jsonl'),
  ];
  const lines = (await Promise.all(files.map((file) => readFile(file, 'utf8'))))
    .join('')
    .trimEnd()
    .split('\n');
  const marked = lines.map((line, index) =>
    index < 3 ? JSON.stringify({ ...JSON.parse(line), mismatched: true }) : line,
  );
  const manifest = path.join(folder, 'manifest.jsonl');
  await writeFile(manifest, `${marked.join('\n')}\n`);
  return manifest;
}

async function trainUntil(config: TrainConfig, step: number): Promise<void> {
  const controller = new AbortController();
  const trainer = await Trainer.create(config);
  for await (const event of trainer.run({ signal: controller.signal }))
    if (event.type === 'step' && event.step === step) controller.abort();
  trainer.dispose();
}
