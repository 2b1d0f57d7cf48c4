/**
 * How the cost of a training step grows: pairs a second and memory against the batch, the queues, the image's side and the width of the
 * towers, one at a time from a common point, with a straight line fitted to each. `node dist/bench/growth.js [--rounds N]`: every setting
 * once a round, each in a process of its own, 3 rounds by default; with fewer it prints and writes nothing.
 */
import { parseArgs } from 'node:util';
import { median } from '../lib/bench/timing.js';
import type { BenchTrainResult } from '../lib/bench/train.js';
import { usableCores } from '../lib/device.js';
import { type Fit, fitLine } from './line-fit.js';
import { busyShare } from './peers/busy.js';
import { cots } from './plan-run.js';
import { writeRecord } from './record.js';

interface Point {
  readonly batch: number;
  readonly queue: number;
  /** Pixels. */
  readonly side: number;
  /** Of both towers. */
  readonly width: number;
}

const common: Point = { batch: 64, queue: 12_800, side: 64, width: 192 };
const patch = 8;

/** What is varied, and what its line is drawn over. */
const axes = {
  batch: { values: [16, 32, 64, 128], over: 'pairs a step', x: ({ point }: Measured) => point.batch },
  queue: {
    values: [3200, 12_800, 25_600, 51_200],
    over: 'entries of each queue',
    x: ({ point }: Measured) => point.queue,
  },
  side: {
    values: [32, 64, 96, 128],
    over: 'patches an image',
    x: ({ point }: Measured) => (point.side / patch) ** 2,
  },
  width: {
    values: [96, 192, 288, 384],
    over: 'floating-point operations a step',
    x: ({ point, flopsPerPair }: Measured) => point.batch * flopsPerPair,
  },
} as const;
type Axis = keyof typeof axes;

interface Measured {
  readonly point: Point;
  readonly stepSeconds: number;
  readonly pairsPerSecond: number;
  readonly peakBytes: number;
  readonly flopsPerPair: number;
}

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '3' } } });
const rounds = Math.max(1, Number.parseInt(values.rounds, 10));
const busyBefore = await busyShare();
const measured = await measureAll();
const tables = (Object.keys(axes) as Axis[]).map(tableOf);
for (const table of tables) print(table);
if (rounds >= 3) await report();

/** Every point once a round, so that whatever else the machine does falls on all. */
async function measureAll(): Promise<Map<string, Measured>> {
  const points = new Map<string, Point>();
  for (const [axis, { values: steps }] of Object.entries(axes))
    for (const value of steps) {
      const point = { ...common, [axis]: value };
      points.set(JSON.stringify(point), point);
    }

  const runs = new Map<string, BenchTrainResult[]>();
  for (let round = 0; round < rounds; round++)
    for (const [key, point] of points)
      runs.set(key, [...(runs.get(key) ?? []), await cots<BenchTrainResult>(...commandOf(point))]);
  return new Map(
    [...points].map(([key, point]) => [key, summary(point, runs.get(key) as BenchTrainResult[])]),
  );
}

/** The whole method, on made pairs with full queues. */
function commandOf({ batch, queue, side, width }: Point): string[] {
  const tower = `layers: 4, width: ${width}, heads: ${width / 32}, mlpRatio: 4`;
  return [
    ...['bench', 'train', '--config', 'configs/demo.yaml', '--steps', '4'],
    'data.train=null',
    `model.image={arch: custom, size: ${side}, patch: ${patch}, ${tower}}`,
    `model.text={arch: custom, ${tower}, vocabSize: 1024, dropout: 0.1}`,
    'model.embedDim=256',
    'token.vocab=1024',
    `queue={size: ${queue}, includeBatchKeys: false}`,
    `train.batchSize=${batch}`,
  ];
}

function summary(point: Point, runs: readonly BenchTrainResult[]): Measured {
  const stepSeconds = median(runs.map(({ latencyMs }) => latencyMs.p50 / 1000));
  return {
    point,
    stepSeconds,
    pairsPerSecond: point.batch / stepSeconds,
    peakBytes: median(runs.map(({ peakMemoryBytes }) => peakMemoryBytes)),
    flopsPerPair: (runs[0] as BenchTrainResult).flopsPerItem,
  };
}

interface Table {
  readonly axis: Axis;
  /** What x is. */
  readonly over: string;
  readonly rows: readonly (Measured & { readonly x: number })[];
  readonly stepSeconds: Fit;
  readonly peakBytes: Fit;
}

function tableOf(axis: Axis): Table {
  const { values: steps, over, x } = axes[axis];
  const rows = steps.map((value) => {
    const row = measured.get(JSON.stringify({ ...common, [axis]: value })) as Measured;
    return { ...row, x: x(row) };
  });
  const line = (y: 'stepSeconds' | 'peakBytes'): Fit => fitLine(rows.map((row) => [row.x, row[y]]));
  return { axis, over, rows, stepSeconds: line('stepSeconds'), peakBytes: line('peakBytes') };
}

function print({ axis, over, rows, stepSeconds, peakBytes }: Table): void {
  console.log(axis);
  for (const { point, stepSeconds: seconds, pairsPerSecond, peakBytes: bytes } of rows)
    console.log(
      `  ${String(point[axis]).padStart(6)}  ${seconds.toFixed(3)} s a step, ${pairsPerSecond.toFixed(1)} pairs/s, ${(bytes / 2 ** 20).toFixed(0)} MiB`,
    );
  const off = (fit: Fit): string => `at most ${(100 * fit.largestDeviation).toFixed(0)} % off`;
  console.log(
    `  seconds = ${stepSeconds.intercept.toFixed(3)} + ${stepSeconds.slope.toExponential(2)} x ${over} (${off(stepSeconds)})`,
  );
  console.log(
    `  MiB = ${(peakBytes.intercept / 2 ** 20).toFixed(0)} + ${(peakBytes.slope / 2 ** 20).toExponential(2)} x ${over} (${off(peakBytes)})`,
  );
}

function report(): Promise<void> {
  return writeRecord('growth', `node dist/bench/growth.js --rounds ${rounds}`, {
    busyBefore,
    threads: usableCores(),
    settings: commandOf(common).join(' '),
    common,
    tables,
  });
}
