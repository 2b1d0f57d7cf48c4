/**
 * A model, not a measurement: how the step of the paper's size would scale over 8 to 1,024 GPUs. What is measured is the step on this
 * project's CPU (`results/train-base.json`: FLOPs a pair, the share of backward) and what is counted is the bytes that ranks exchange;
 * the rate of a GPU and the links' speeds are assumptions named below. `node dist/bench/scaling-model.js` prints docs/scaling.md's table.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../lib/binding.js';
import { loadConfig } from '../lib/config/load.js';
import { planTraining } from '../lib/config/plan.js';

/** FLOP/s of one GPU in training: half of the 790 TFLOP/s that a dense bfloat16 product reaches on an H200. An assumption. */
const gpuFlops = 0.5 * 790e12;
const pairsAGpu = 64;
const gpusANode = 8;

/** Bytes a second that a GPU sends and receives at the same time, by their makers' figures, at 80 % of them. */
const links = {
  'NVLink 4 within, InfiniBand NDR between nodes': { within: 0.8 * 450e9, between: 0.8 * 50e9 },
  'NVLink 4 within, 100 Gb/s Ethernet a node between': {
    within: 0.8 * 450e9,
    between: (0.8 * 12.5e9) / gpusANode,
  },
} as const;

const worlds = [8, 16, 32, 64, 128, 256, 512, 1024];
const float32 = 4;

interface Step {
  readonly flopsPerPair: number;
  /** Share of the step's time: while it lasts, gradients are on their way. */
  readonly backward: number;
}

const step = measuredStep();
const config = await loadConfig(path.join(packageRoot(), 'configs', 'base.yaml'), [], 'plan');
const { parameters } = planTraining(config);
const gradientBytes = float32 * parameters.trained;
const keyBytes = float32 * (2 * config.model.embedDim + 1) + 24;

console.log(
  `step alone: ${(1000 * secondsAlone()).toFixed(0)} ms; gradients ${(gradientBytes / 1e6).toFixed(0)} MB; keys ${keyBytes} bytes a pair`,
);
for (const [name, { within, between }] of Object.entries(links)) {
  console.log(
    `\n${name}\n\n| GPUs | batch | gradients ms | hidden | keys ms | step ms | pairs/s | of linear |\n|---|---|---|---|---|---|---|---|`,
  );
  for (const world of worlds) console.log(row(world, world <= gpusANode ? within : between));
}

function row(world: number, speed: number): string {
  const alone = secondsAlone();
  const share = (world - 1) / world;
  // A ring sends each byte twice: once to sum, once to share.
  const gradients = (2 * share * gradientBytes) / speed;
  const keys = (share * world * pairsAGpu * keyBytes) / speed;
  const exposed = Math.max(0, gradients - step.backward * alone);
  const whole = alone + exposed + keys;
  const ms = (seconds: number): string => (1000 * seconds).toFixed(seconds < 0.01 ? 1 : 0);
  const cells = [
    world,
    world * pairsAGpu,
    ms(gradients),
    `${(100 * (1 - exposed / gradients)).toFixed(0)} %`,
    ms(keys),
    ms(whole),
    Math.round((world * pairsAGpu) / whole).toLocaleString('en-US'),
    `${((100 * alone) / whole).toFixed(0)} %`,
  ];
  return `| ${cells.join(' | ')} |`;
}

function secondsAlone(): number {
  return (pairsAGpu * step.flopsPerPair) / gpuFlops;
}

function measuredStep(): Step {
  const file = path.join(packageRoot(), 'bench', 'results', 'train-base.json');
  const { result } = JSON.parse(readFileSync(file, 'utf8')) as {
    result: { flopsPerItem: number; latencyMs: { p50: number }; stages: { backward: number } };
  };
  return { flopsPerPair: result.flopsPerItem, backward: result.stages.backward / result.latencyMs.p50 };
}
