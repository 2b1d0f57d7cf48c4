/** `bench train`: whole optimizer steps, on the config's data or on made ones. */
import { binding, type NativeStepMetrics, type NativeTrainer } from '../binding.js';
import { pairFlops } from '../config/flops.js';
import { checkDevice, threadsOf } from '../config/load.js';
import { nativeTokenizerConfig, nativeTrainConfig, trainingPlacement } from '../config/native.js';
import type { TrainConfig } from '../config/schema.js';
import { pairLoader } from '../data/loaders.js';
import { CaptionEncoder, captionRules, textTokenizerFor, trainableWords } from '../data/text/captions.js';
import { captionsOf, openSources } from '../data/training-set.js';
import { measurePeak } from '../device.js';
import { BatchSource } from '../train/batch-source.js';
import { readTokenizerFolder } from '../train/tokenizer-folder.js';
import { type BenchContext, benchContext } from './machine.js';
import { withPairs } from './made-pairs.js';
import { type Latency, latency, median } from './timing.js';

const stageNames = [
  'tokenise',
  'cleanPass',
  'maskedPass',
  'momentum',
  'losses',
  'backward',
  'optimizer',
] as const;

export interface BenchTrainResult extends BenchContext {
  readonly batchSize: number;
  readonly accumulate: number;
  readonly steps: number;
  /** Median of the steps, loading included as far as the step waits for it. */
  readonly pairsPerSecond: number;
  /** Of one step. */
  readonly latencyMs: Latency;
  /** Median milliseconds a step; `load` is what the step waited for its batch, on a GPU, whose step is one piece, the only one. */
  readonly stages: Readonly<{ load: number } & Partial<Record<(typeof stageNames)[number], number>>>;
  /** Of one pair (SPEC 8), the captions at their longest. */
  readonly flopsPerItem: number;
  /** Flops a second over `peakFlops`. */
  readonly utilisation: number;
  /** Flops a second of a dense product in the run's number type, measured in the same run. */
  readonly peakFlops: number;
  readonly memoryBytes: {
    /** With their gradients. */
    readonly weights: number;
    readonly optimizer: number;
    readonly momentum: number;
    readonly queues: number;
    /** Most that a step has in use beside these: states kept for backward and what it works with. */
    readonly activations: number;
  };
  readonly data: 'config' | 'made';
}

/** One warm-up step, then `steps` measured ones. Without `data.train`: made JPEGs and captions, random queues, a random image tokenizer. */
export async function benchTrain(
  config: TrainConfig,
  options: { steps: number; onStep?: (done: number) => void },
): Promise<BenchTrainResult> {
  checkDevice(config);
  return withPairs(config, (ready, made) => measure(ready, options, made));
}

interface Step {
  /** Milliseconds the step waited for its batch. */
  readonly load: number;
  /** Milliseconds in all. */
  readonly total: number;
  readonly metrics: NativeStepMetrics;
}

async function measure(
  config: TrainConfig,
  options: { steps: number; onStep?: (done: number) => void },
  made: boolean,
): Promise<BenchTrainResult> {
  const set = await openSources(config.data.train, 'train');
  const tokenizer = await textTokenizerFor(config, captionsOf(set));
  const imageTokenizer = await imageTokenizerOf(config);
  const network = imageTokenizer?.config ?? nativeTokenizerConfig(config);
  const facts = { totalSteps: options.steps + 1, words: trainableWords(tokenizer), codes: network.vocab };
  const threads = threadsOf(config);
  const native = await binding().createTrainer({
    config: nativeTrainConfig(config, facts),
    tokenizer: imageTokenizer,
    threads,
  });
  const captions = new CaptionEncoder(tokenizer, captionRules(config));
  let source: BatchSource | undefined;
  let rows: Step[];
  const held = native.memory();
  try {
    source = new BatchSource(pairLoader(config, set, captions), set.entries);
    rows = await timeSteps(native, source, options);
  } finally {
    await source?.drain(); // made pairs are deleted next
    native.dispose();
  }

  const placement = trainingPlacement(config);
  const peakFlops = await measurePeak(threads, placement);
  const { batchSize, accumulate } = config.train;
  const totals = rows.map(({ total }) => total);
  const pairsPerSecond = (1000 * batchSize) / median(totals);
  const flopsPerItem = pairFlops(config, config.data.textMaxLen, network).total;
  return {
    batchSize,
    accumulate,
    steps: options.steps,
    pairsPerSecond,
    latencyMs: latency(totals),
    stages: stagesOf(rows, placement.device === 'cpu'),
    flopsPerItem,
    utilisation: (pairsPerSecond * flopsPerItem) / peakFlops,
    peakFlops,
    memoryBytes: { ...held, activations: activationBytes(rows, held) },
    data: made ? 'made' : 'config',
    ...benchContext(threads, placement.device),
  };
}

/** One step to warm up, then the measured ones. */
async function timeSteps(
  native: NativeTrainer,
  source: BatchSource,
  { steps, onStep }: { steps: number; onStep?: (done: number) => void },
): Promise<Step[]> {
  const rows: Step[] = [];
  for (let step = 0; step <= steps; step++) {
    const start = performance.now();
    const { batch } = await source.next();
    const load = performance.now() - start;
    const metrics = await native.step({ batch, cancel: null });
    if (step > 0) rows.push({ load, total: performance.now() - start, metrics });
    onStep?.(step);
  }

  return rows;
}

/** On a GPU, whose peak is of all that is there, what the others leave of it. */
function activationBytes(rows: readonly Step[], held: ReturnType<NativeTrainer['memory']>): number {
  const most = (of: (metrics: NativeStepMetrics) => number): number =>
    Math.max(...rows.map(({ metrics }) => of(metrics)));
  const onDevice = most((metrics) => metrics.deviceBytes);
  if (onDevice === 0) return most((metrics) => metrics.activationBytes);
  return Math.max(0, onDevice - held.weights - held.optimizer - held.momentum - held.queues);
}

function stagesOf(rows: readonly Step[], isCpu: boolean): BenchTrainResult['stages'] {
  const load = median(rows.map((row) => row.load));
  if (!isCpu) return { load };
  const stage = (name: (typeof stageNames)[number]): number =>
    1000 * median(rows.map(({ metrics }) => metrics.seconds[name]));
  return {
    load,
    tokenise: stage('tokenise'),
    cleanPass: stage('cleanPass'),
    maskedPass: stage('maskedPass'),
    momentum: stage('momentum'),
    losses: stage('losses'),
    backward: stage('backward'),
    optimizer: stage('optimizer'),
  };
}

/** The config's trained image tokenizer, a random one where it names none; null without CMVM. */
async function imageTokenizerOf(config: TrainConfig) {
  if (config.loss.weights.cmvm === 0) return null;
  if (config.token.tokenizer !== null) {
    const { config: network, file } = await readTokenizerFolder(config.token.tokenizer);
    return { config: network, file };
  }

  return { config: nativeTokenizerConfig(config), file: null };
}
