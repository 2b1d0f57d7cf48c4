/**
 * What `cots train --dry-run` predicts against what `cots train` takes, a round of each in turn, at three sizes; Linux:
 * `node dist/bench/plan.js [NAME...]`. With names it prints and writes nothing; `base`, which wants 10 GB, is measured by name alone.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { writePairs } from '../lib/bench/made-pairs.js';
import { median } from '../lib/bench/timing.js';
import { loadConfig, threadsOf } from '../lib/config/load.js';
import { busyShare } from './peers/busy.js';
import { cots, type DryRun, type TrainingRun, watchTraining } from './plan-run.js';
import { writeRecord } from './record.js';

interface Size {
  readonly name: string;
  readonly rounds: number;
  readonly steps: number;
  readonly settings: readonly string[];
}

/** Towers of 4 layers and 192 wide on 64 patches, 128 pairs. */
const demoTowers = [
  'model.image={arch: custom, size: 64, patch: 8, layers: 4, width: 192, heads: 6, mlpRatio: 4}',
  'model.text={arch: custom, layers: 4, width: 192, heads: 6, mlpRatio: 4, vocabSize: 1024, dropout: 0.1}',
  'model.embedDim=256',
  'token.vocab=1024',
  'queue={size: 12800, includeBatchKeys: false}',
  'train.batchSize=128',
];
const sizes: readonly Size[] = [
  { name: 'demo', rounds: 3, steps: 24, settings: ['configs/demo.yaml'] },
  { name: 'demo-towers', rounds: 3, steps: 4, settings: ['configs/demo.yaml', ...demoTowers] },
  {
    name: 'small',
    rounds: 3,
    steps: 4,
    settings: ['configs/small.yaml', 'train.batchSize=8', 'train.accumulate=1'],
  },
  {
    name: 'base',
    rounds: 1,
    steps: 3,
    settings: ['configs/base.yaml', 'train.batchSize=4', 'train.accumulate=1'],
  },
];
const pairs = 256;
const goals = { memory: 0.1, time: 0.25 };

/** The queues are full and no decoded pixels are kept, so that what is measured is what is predicted and no upper bound. */
const shared = ['queue.init=random', 'data.cacheBytes=0', 'data.textClean=none', 'data.vocabulary=null'];

interface Round {
  /** Share of the cores that was in use just before. */
  readonly busyBefore: number;
  readonly predictedSeconds: number;
  readonly measured: TrainingRun;
}

async function measureSize({ name, rounds, steps, settings }: Size, folder: string) {
  const config = await loadConfig(settings[0] as string, [...settings.slice(1), 'data.train=x'], 'bench');
  const manifest = await writePairs(path.join(folder, name), config, pairs);
  const [tokenizer, out] = [path.join(folder, `${name}-tokenizer`), path.join(folder, `${name}-run`)];
  const given = [
    '--config',
    ...settings,
    ...shared,
    `data.train=${manifest}`,
    `token.tokenizer=${tokenizer}`,
  ];
  await cots('train-tokenizer', ...given, 'tokenizer.steps=1', 'tokenizer.batchSize=2');
  const run = [...given, `train.out=${out}`, `train.steps=${steps}`];
  const { memoryBytes, fit } = await cots<DryRun>('train', '--dry-run', ...run);
  const done: Round[] = [];
  for (let round = 0; round < rounds; round++) {
    const busyBefore = await busyShare();
    const { seconds } = await cots<DryRun>('train', '--dry-run', ...run);
    const predictedSeconds = seconds?.total ?? Number.NaN;
    const measured = await watchTraining(run, out);
    done.push({ busyBefore, predictedSeconds, measured });
    console.log(
      `  ${predictedSeconds.toFixed(3)} s predicted, ${measured.stepSeconds.toFixed(3)} s measured, ${mebibytes(measured.peakBytes)}, ${(100 * busyBefore).toFixed(0)} % busy before`,
    );
  }

  const peakBytes = median(done.map(({ measured }) => measured.peakBytes));
  const stepSeconds = median(done.map(({ measured }) => measured.stepSeconds));
  const predictedSeconds = median(done.map((round) => round.predictedSeconds));
  return {
    name,
    settings: [...settings, ...shared, `train.steps=${steps}`].join(' '),
    threads: threadsOf(config),
    peakBytes: { predicted: memoryBytes.total, measured: peakBytes },
    memoryError: memoryBytes.total / peakBytes - 1,
    stepSeconds: { predicted: predictedSeconds, measured: stepSeconds },
    timeError: predictedSeconds / stepSeconds - 1,
    largestBatch: fit?.largestBatch,
    memoryBytes,
    rounds: done,
  };
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}

const names = process.argv.slice(2);
const folder = await mkdtemp(path.join(tmpdir(), 'cots-plan-'));
const rows = [];
try {
  for (const size of sizes) {
    if (names.length > 0 ? !names.includes(size.name) : size.name === 'base') continue;
    const row = await measureSize(size, folder);
    rows.push(row);
    const percent = (value: number): string => `${value >= 0 ? '+' : ''}${(100 * value).toFixed(1)} %`;
    const { peakBytes, memoryError, stepSeconds, timeError } = row;
    console.log(
      `${size.name}: memory ${percent(memoryError)} of ${mebibytes(peakBytes.measured)}, time ${percent(timeError)} of ${stepSeconds.measured.toFixed(3)} s`,
    );
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}

if (names.length === 0) await writeRecord('plan', 'node dist/bench/plan.js', { goals, rows });
