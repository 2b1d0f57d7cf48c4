/**
 * What an asynchronous checkpoint costs training at the paper's size: the stall while the state is copied, and by how much the steps
 * are slower beside which it is written. `node dist/bench/checkpoint-cost.js [--rounds N]`, 3 by default; below 3 it writes no result.
 */
import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { benchContext } from '../lib/bench/machine.js';
import { median } from '../lib/bench/timing.js';
import { binding, type NativeTrainer } from '../lib/binding.js';
import { loadConfig, threadsOf } from '../lib/config/load.js';
import { nativeTokenizerConfig, nativeTrainConfig } from '../lib/config/native.js';
import { madeBatch, maskId } from './made-batch.js';
import { busyShare } from './peers/busy.js';
import { writeRecord } from './record.js';

const leastRounds = 3;
const stepsAlone = 3;
const intervalSeconds = 300;
const goal = 0.02;
const settings = ['data.train=null', 'queue.init=random', 'train.batchSize=4', 'train.accumulate=1'];

interface Round {
  /** Median of steps with no checkpoint beside them. */
  readonly stepSeconds: number;
  /** The step loop stands still while the state is copied. */
  readonly stallSeconds: number;
  /** Until all is written and synced. */
  readonly writeSeconds: number;
  /** What the steps beside the writing took longer, all together. */
  readonly slowerSeconds: number;
  readonly bytes: number;
}

const { values } = parseArgs({ options: { rounds: { type: 'string', default: String(leastRounds) } } });
const count = Math.max(1, Number.parseInt(values.rounds, 10));
const busyBefore = await busyShare();
const config = await loadConfig('configs/base.yaml', settings, 'bench');
const words = { pad: 0, cls: 2, sep: 3, mask: maskId };
const threads = threadsOf(config);
const trainer = await binding().createTrainer({
  config: nativeTrainConfig(config, { totalSteps: 1000, words, codes: config.token.vocab }),
  tokenizer: { config: nativeTokenizerConfig(config), file: null },
  threads,
});
const batch = madeBatch(config);
const folder = await mkdtemp(path.join(tmpdir(), 'cots-checkpoint-'));
const rounds: Round[] = [];
try {
  await stepSeconds(trainer); // to warm up
  for (let index = 1; index <= count; index++) {
    const round = await measure(path.join(folder, String(index)));
    rounds.push(round);
    console.log(`  round ${index} of ${count}: ${JSON.stringify(round)}`);
  }
} finally {
  trainer.dispose();
  await rm(folder, { recursive: true, force: true });
}

const stall = median(rounds.map(({ stallSeconds }) => stallSeconds));
const slower = median(rounds.map(({ slowerSeconds }) => slowerSeconds));
const share = (stall + slower) / intervalSeconds;
console.log(
  `${(100 * share).toFixed(2)} % of the time at a checkpoint each ${intervalSeconds} s (goal ${100 * goal} %)`,
);
if (count >= leastRounds)
  await writeRecord('checkpoint-cost', `node dist/bench/checkpoint-cost.js --rounds ${count}`, {
    busyBefore,
    settings: ['configs/base.yaml', ...settings],
    intervalSeconds,
    share,
    goal,
    rounds,
    ...benchContext(threads),
  });

async function stepSeconds(native: NativeTrainer): Promise<number> {
  const start = performance.now();
  await native.step({ batch, cancel: null });
  return (performance.now() - start) / 1000;
}

/** Steps alone, a checkpoint, and steps until it is written. */
async function measure(directory: string): Promise<Round> {
  const alone: number[] = [];
  for (let step = 0; step < stepsAlone; step++) alone.push(await stepSeconds(trainer));
  const usual = median(alone);
  await mkdir(directory);
  const start = performance.now();
  const part = await trainer.capture();
  const copied = performance.now();
  let written = 0;
  const writing = part.write({ directory }).then(() => {
    written = performance.now();
  });
  let slowerSeconds = 0;
  while (written === 0) slowerSeconds += (await stepSeconds(trainer)) - usual;
  await writing;
  const sizes = (await readdir(directory)).map(async (name) => (await stat(path.join(directory, name))).size);
  const bytes = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  await rm(directory, { recursive: true });
  return {
    stepSeconds: usual,
    stallSeconds: (copied - start) / 1000,
    writeSeconds: (written - copied) / 1000,
    slowerSeconds,
    bytes,
  };
}
