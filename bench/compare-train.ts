/**
 * One whole optimizer step beside the same step in plain PyTorch, at one of two sizes, each side in a process of its own on the same
 * weights, queues, batch and masks: `node dist/bench/compare-train.js demo|base|gpu [--rounds N]`. `gpu` is the base size on an NVIDIA GPU,
 * both sides in bfloat16 over float32 weights; the peer's Python must have a CUDA torch (COTS_PYTHON, COTS_PEERS=installed).
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../lib/config/load.js';
import { nativeTokenizerConfig, nativeTrainConfig } from '../lib/config/native.js';
import { usableCores } from '../lib/device.js';
import { longestCaption, madeArrays, maskId } from './made-batch.js';
import { type Round, runComparison } from './peers/compare.js';
import { PythonPeer } from './peers/python-peer.js';
import type { StepAnswer, StepSettings } from './train-child.js';

/** Caption lengths and masks are drawn, dropout is off in the check and 0.1 on the clock: its draws differ between the two. */
const checkedSteps = 3;
const timedDropout = 0.1;

const shared = [
  'queue={size: 12800, includeBatchKeys: false, init: random}',
  'data.train=null',
  `model.text.maxPositions=${longestCaption}`,
  'model.image.dropPath=0',
  'model.pool=cls',
  'optim.lr=1e-4',
  'sched={warmupSteps: 0, warmupFrom: 1e-4, minLr: 1e-4}',
  'train.accumulate=1',
];

interface Size {
  readonly config: string;
  readonly pairs: number;
  /** Most that a loss may be off: in bfloat16 two orders of the same sums differ by about one in 256. */
  readonly tolerance: number;
  /** Times the peer's pairs a second. */
  readonly goal: number;
  readonly device?: 'cuda';
  readonly overrides: readonly string[];
}
const sizes: Readonly<Record<string, Size>> = {
  demo: {
    config: 'configs/small.yaml',
    pairs: 128,
    tolerance: 1e-3,
    goal: 2,
    overrides: [
      'model.image={arch: custom, size: 64, patch: 8, layers: 4, width: 192, heads: 6, mlpRatio: 4}',
      'model.text={arch: custom, layers: 4, width: 192, heads: 6, mlpRatio: 4, vocabSize: 1024}',
      'model.embedDim=256',
      'token.vocab=1024',
      'tokenizer={arch: openai, hidden: 32, pixels: map_pixels}',
    ],
  },
  base: {
    config: 'configs/base.yaml',
    pairs: 4,
    tolerance: 1e-3,
    goal: 1.5,
    overrides: ['train.checkpointing=selective'],
  },
  gpu: {
    config: 'configs/base.yaml',
    pairs: 256,
    tolerance: 0.1,
    goal: 1.2,
    device: 'cuda',
    // A step is recorded once the queue is full of real pairs.
    overrides: ['train.device=cuda', 'queue.init=empty'],
  },
};

const name = process.argv[2] ?? '';
const size = sizes[name];
if (size === undefined) {
  console.error(`Expected one of: ${Object.keys(sizes).join(', ')}.`);
  process.exit(2);
}

const chosen: Size = size;
process.argv.splice(2, 1);
const differences = await withSides(0, ['eager'], check);
await withSides(timedDropout, ['eager', 'compiled'], race);

/** A side takes one step. */
type Side = () => Promise<StepAnswer>;
type Work<Result> = (ours: Side, peers: Peers) => Promise<Result>;
type Peers = readonly [PythonPeer, ...PythonPeer[]];

/** Ours and the peer, each in a process of its own, the peer once for each of its `modes`. */
async function withSides<Result>(
  dropout: number,
  modes: readonly ['eager', ...'compiled'[]],
  work: Work<Result>,
): Promise<Result> {
  const folder = await mkdtemp(path.join(tmpdir(), 'cots-train-'));
  const threads = String(usableCores());
  const child = fork(fileURLToPath(new URL('./train-child.js', import.meta.url)), [folder, threads]);
  const peers: PythonPeer[] = [];
  try {
    await writeSettings(folder, dropout);
    for (const mode of modes) {
      const env = { COTS_COMPILE: mode === 'compiled' ? '1' : '0', COTS_DEVICE: chosen.device ?? 'cpu' };
      peers.push(await PythonPeer.start('model', 'train_step.py', { arguments: [folder, threads], env }));
    }

    for (const peer of peers) await peer.ask('tokenizer'); // the same random weights from each
    await ask(child, 'load');
    for (const peer of peers) await peer.ask('load');
    return await work(() => ask<StepAnswer>(child, 'step'), peers as unknown as Peers);
  } finally {
    child.kill();
    for (const peer of peers) await peer.close();
    await rm(folder, { recursive: true });
  }
}

async function ask<Answer>(child: ChildProcess, request: 'load' | 'step'): Promise<Answer> {
  child.send(request);
  const [answer] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [unknown];
  if (typeof answer !== 'object' || answer === null) throw new Error(`our side ended with ${answer}`);
  if ('error' in answer) throw new Error(String(answer.error));
  return answer as Answer;
}

/** The largest difference of each loss over the first steps. The same losses, or the race is none. */
async function check(ours: Side, [theirs]: Peers): Promise<Record<string, number>> {
  const most: Record<string, number> = {};
  for (let step = 0; step < checkedSteps; step++) {
    const [own, other] = [await ours(), await theirs.ask<StepAnswer>('step')];
    for (const [loss, value] of Object.entries(own.losses)) {
      const difference = Math.abs(value - other.losses[loss as keyof StepAnswer['losses']]);
      if (!(difference < chosen.tolerance))
        throw new Error(`Expected equal losses in step ${step + 1}, ${loss} is ${difference} off.`);
      most[loss] = Math.max(most[loss] ?? 0, difference);
    }
  }

  return most;
}

async function race(ours: Side, peers: Peers): Promise<void> {
  const { pairs, goal } = chosen;
  const round = async (side: Side): Promise<Round> => {
    const { seconds, peakBytes } = await side();
    return { seconds, items: pairs, peakBytes };
  };
  await runComparison(
    `train-${name}`,
    (measure) =>
      measure({
        name: `one training step, ${name}, ${pairs} pairs`,
        settings: {
          config: chosen.config,
          pairs,
          overrides: chosen.overrides,
          longest: longestCaption,
          dropout: timedDropout,
          threads: usableCores(),
          differences,
        },
        contenders: [
          { name: 'cots', round: () => round(ours) },
          ...peers.map((peer, index) => ({
            name: index === 0 ? 'pytorch' : 'pytorch-compiled',
            versions: peer.versions,
            round: () => round(() => peer.ask<StepAnswer>('step')),
          })),
        ],
        goals: { pytorch: goal, 'pytorch-compiled': goal },
      }),
    `node dist/bench/compare-train.js ${name}`,
  );
}

async function writeSettings(folder: string, dropout: number): Promise<void> {
  const { config: file, pairs, overrides } = chosen;
  const config = await loadConfig(
    file,
    [...shared, ...overrides, `model.text.dropout=${dropout}`, `train.batchSize=${pairs}`],
    'bench',
  );
  const words = { pad: 0, cls: 2, sep: 3, mask: maskId };
  const settings: StepSettings = {
    config: nativeTrainConfig(config, { totalSteps: 1000, words, codes: config.token.vocab }),
    tokenizer: nativeTokenizerConfig(config),
    pairs,
    prefills: chosen.device === undefined ? 0 : Math.ceil(config.queue.size / pairs),
  };
  await writeFile(path.join(folder, 'settings.json'), JSON.stringify(settings));
  for (const [array, values] of Object.entries(madeArrays(config)))
    await writeFile(path.join(folder, `${array}.bin`), values);
}
