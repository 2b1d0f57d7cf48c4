/** `cots bench encode|train|load|video|retrieval|ops`. */
import { type Command, Option } from 'commander';
import { type BenchEncodeResult, benchEncode } from '../bench/encode.js';
import { benchLoad } from '../bench/load.js';
import { benchOps, opNames } from '../bench/ops.js';
import { type BenchTrainResult, benchTrain } from '../bench/train.js';
import { loadConfig } from '../config/load.js';
import type { Device, Precision } from '../device.js';
import { retrievalBenchCommand } from './bench-retrieval-command.js';
import { videoBenchCommand } from './bench-video-command.js';
import {
  addMissing,
  type CommonOptions,
  collectOverride,
  newCommand,
  newGroup,
  positiveNumber,
  wholeNumber,
} from './command.js';
import { humanBytes, note, printResult, table, UsageError } from './output.js';

export function benchCommand(): Command {
  const group = newGroup(
    'bench',
    'measure speed and memory on this machine',
    'cots bench encode --config configs/base.yaml --modality image --json',
  );
  for (const command of [
    encodeCommand(),
    trainBenchCommand(),
    loadCommand(),
    videoBenchCommand(),
    retrievalBenchCommand(),
    opsCommand(),
  ])
    group.addCommand(command);
  addMissing(group, ['search']);
  return group;
}

interface EncodeOptions extends CommonOptions {
  readonly model?: string;
  readonly config?: string;
  readonly modality: 'image' | 'text';
  readonly device: Device;
  readonly precision?: Precision;
  readonly batchSize: number;
  readonly seconds: number;
  readonly threads?: number;
}

function encodeCommand(): Command {
  return newCommand(
    'encode',
    'latency and rate of one tower: pixels or token ids in, unit rows out; decoding and preprocessing are timed beside it',
    'cots bench encode --config configs/base.yaml --modality image --seconds 10 --json',
  )
    .argument('[overrides...]', 'key.path=value, with --config', collectOverride)
    .option('--model <dir>', 'model folder')
    .option('--config <file>', 'YAML config: random weights')
    .addOption(new Option('--modality <name>', 'tower').choices(['image', 'text']).default('image'))
    .option('--device <device>', 'cpu, cuda or cuda:N', 'cpu')
    .addOption(
      new Option('--precision <type>', 'number type (default: float32 on a CPU, bfloat16 on CUDA)').choices([
        'float32',
        'bfloat16',
        'int8',
      ]),
    )
    .option('--batch-size <number>', 'items of one call', wholeNumber(1, 65_536), 1)
    .option('--seconds <number>', 'time to measure for', positiveNumber, 10)
    .option('--threads <number>', 'threads of native work', wholeNumber(1, 1024))
    .action(async (overrides: string[] | undefined, options: EncodeOptions) => {
      const { model, config, modality, device, batchSize, seconds, threads } = options;
      if ((model === undefined) === (config === undefined))
        throw new UsageError(
          `Expected either --model DIR or --config FILE, got ${model === undefined ? 'neither' : 'both'}. For example: cots bench encode --config configs/base.yaml --modality image`,
        );
      if (model !== undefined && overrides !== undefined && overrides.length > 0)
        throw new UsageError(
          `Expected key.path=value only with --config, got '${overrides[0]}' with --model, whose config is its own. Leave it out.`,
        );
      const source =
        model === undefined ? { config: await loadConfig(config as string, overrides, 'bench') } : { model };
      const result = await benchEncode({
        source,
        modality,
        device,
        precision: options.precision,
        batchSize,
        seconds,
        threads,
      });
      const { precision, itemsPerSecond, latencyMs, stages, peakMemoryBytes } = result;
      printResult(options, result, [
        `${modality}s, batch ${batchSize}, ${precision}: ${itemsPerSecond.toFixed(1)}/s, p50 ${latencyMs.p50.toFixed(2)} ms, p95 ${latencyMs.p95.toFixed(2)}, p99 ${latencyMs.p99.toFixed(2)}`,
        `stages (ms): ${Object.entries(stages)
          .map(([name, ms]) => `${name} ${ms.toFixed(2)}`)
          .join(', ')}; peak memory ${humanBytes(peakMemoryBytes)}`,
        rateLine(itemsPerSecond, result),
      ]);
    });
}

/** Flops a second beside those of a dense product in the same number type. */
function rateLine(
  itemsPerSecond: number,
  { flopsPerItem, peakFlops, utilisation }: BenchEncodeResult | BenchTrainResult,
): string {
  const rate = (flops: number): string => (flops / 1e9).toFixed(0);
  return `${rate(itemsPerSecond * flopsPerItem)} GFLOP/s, ${percent(utilisation)} of the ${rate(peakFlops)} of a dense product here`;
}

interface TrainOptions extends CommonOptions {
  readonly config: string;
  readonly steps: number;
}

function trainBenchCommand(): Command {
  return newCommand(
    'train',
    'time and memory of whole training steps',
    'cots bench train --config configs/demo.yaml --steps 5 --json',
  )
    .requiredOption('--config <file>', 'YAML config; without data.train the data are made')
    .argument('[overrides...]', 'key.path=value', collectOverride)
    .option('--steps <number>', 'steps to measure, after one to warm up', wholeNumber(1, 1_000_000), 3)
    .action(async (overrides: string[] | undefined, options: TrainOptions) => {
      const config = await loadConfig(options.config, overrides, 'bench');
      const result = await benchTrain(config, {
        steps: options.steps,
        onStep: (done) => note(done === 0 ? 'warmed up' : `step ${done} of ${options.steps}`),
      });
      printResult(options, result, trainLines(result));
    });
}

function trainLines(result: BenchTrainResult): string[] {
  const { pairsPerSecond, stages, memoryBytes } = result;
  const stepMs = result.latencyMs.p50;
  return [
    `${pairsPerSecond.toFixed(2)} pairs/s, a step of ${result.batchSize} pairs takes ${stepMs.toFixed(0)} ms, peak memory ${humanBytes(result.peakMemoryBytes)}`,
    rateLine(pairsPerSecond, result),
    ...table(
      ['stage', 'ms', 'share'],
      Object.entries(stages).map(([name, ms]) => [name, ms.toFixed(1), percent(ms / stepMs)]),
    ),
    ...table(
      ['memory', ''],
      Object.entries(memoryBytes).map(([owner, bytes]) => [
        owner === 'weights' ? 'weights, gradients' : owner,
        humanBytes(bytes),
      ]),
    ),
  ];
}

const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;

interface LoadOptions extends CommonOptions {
  readonly config: string;
  readonly batches: number;
}

function loadCommand(): Command {
  return newCommand(
    'load',
    'images a second that the loader makes training batches of: read, decode, crop, jitter, resize',
    'cots bench load --config configs/base.yaml train.batchSize=64 train.accumulate=1 --json',
  )
    .requiredOption('--config <file>', 'YAML config; without data.train photographs of 640 x 480 are made')
    .argument('[overrides...]', 'key.path=value', collectOverride)
    .option('--batches <number>', 'batches to measure', wholeNumber(1, 1_000_000), 16)
    .action(async (overrides: string[] | undefined, options: LoadOptions) => {
      const config = await loadConfig(options.config, overrides, 'bench');
      const result = await benchLoad(config, options.batches);
      const { itemsPerSecond, latencyMs, stages, batchSize, peakMemoryBytes } = result;
      printResult(options, result, [
        `${itemsPerSecond.toFixed(1)} images/s, a batch of ${batchSize} every ${latencyMs.p50.toFixed(0)} ms, peak memory ${humanBytes(peakMemoryBytes)}`,
        `stages (ms an image, alone): ${Object.entries(stages)
          .map(([name, ms]) => `${name} ${ms === null ? '-' : ms.toFixed(2)}`)
          .join(', ')}`,
      ]);
    });
}

interface OpsOptions extends CommonOptions {
  readonly seconds: number;
  readonly op?: string;
}

function opsCommand(): Command {
  return newCommand(
    'ops',
    'speed of the kernels by themselves',
    'cots bench ops --op queueContrast --seconds 5 --json',
  )
    .addOption(new Option('--op <name>', 'only this one').choices(opNames))
    .option('--seconds <number>', 'time a row', positiveNumber, 3)
    .action(async (options: OpsOptions) => {
      const result = await benchOps({
        seconds: options.seconds,
        only: options.op,
        onRow: ({ op, latencyMs }) => note(`${op}: ${latencyMs.p50.toFixed(2)} ms`),
      });
      const rows = result.rows.map(({ op, sizes, calls, latencyMs, gflopsPerSecond, utilisation }) => [
        op,
        Object.entries(sizes)
          .map(([name, value]) => `${name} ${value}`)
          .join(' '),
        String(calls),
        latencyMs.p50.toFixed(2),
        latencyMs.p95.toFixed(2),
        gflopsPerSecond === 0 ? '-' : gflopsPerSecond.toFixed(1),
        utilisation === 0 ? '-' : percent(utilisation),
      ]);
      printResult(
        options,
        result,
        table(['op', 'sizes', 'calls', 'p50 ms', 'p95 ms', 'GFLOP/s', 'of peak'], rows),
      );
    });
}
