/**
 * `bench retrieval`: the paper's speed claim made checkable (SPEC 5.3). What retrieval over a whole test set costs two towers, each item
 * once, and what it costs a single-stream model, each pair once. Rates are measured on samples and multiplied out; every term is told.
 */
import { binding, type Matrix, type NativeModel } from '../binding.js';
import { embeddingWidth, resolveModelConfig } from '../config/load.js';
import { nativeModelConfig } from '../config/native.js';
import type { TrainConfig } from '../config/schema.js';
import { type Device, resolveDevice, resolveThreads } from '../device.js';
import { OptionError } from '../errors.js';
import { evaluateRetrieval } from '../evaluate/retrieval.js';
import { describedModel, type ModelDescription } from '../model/config-file.js';
import { topK } from '../ops.js';
import { type BenchContext, benchContext } from './machine.js';
import { uniform, unitRows } from './synthetic.js';
import { median } from './timing.js';

export interface BenchRetrievalOptions {
  /** Random weights: they cost what trained ones cost. */
  readonly config: TrainConfig;
  /** Size of the test set. @default COCO 5K: 5,000 images, 25,000 captions */
  readonly images?: number;
  readonly texts?: number;
  /** Items that are measured. @default 256 images, 2,000 texts */
  readonly sampleImages?: number;
  readonly sampleTexts?: number;
  /** Calls of each single-stream model that are measured, and pairs of a call. @default 3, as many pairs as 4,608 tokens are */
  readonly calls?: number;
  readonly pairs?: number | undefined;
  readonly threads?: number | undefined;
  /** Of the towers. @default cpu */
  readonly device?: Device | undefined;
  readonly onStage?: (name: string) => void;
}

/** A rate on a sample, and the seconds it gives for all. */
export interface Extrapolated {
  readonly measured: number;
  readonly perSecond: number;
  readonly items: number;
  /** items / perSecond. */
  readonly seconds: number;
}

export interface SingleStreamCost {
  readonly name: string;
  readonly tokens: number;
  /** Every image with every text. */
  readonly pairs: Extrapolated;
  /** Its seconds over those of the two towers. */
  readonly ratio: number;
  /** The same with the region detector's seconds, quoted and not measured; null where the model needs none. */
  readonly ratioWithDetector: number | null;
}

export interface BenchRetrievalResult extends BenchContext {
  /** float32 on a CPU, bfloat16 on a GPU. */
  readonly precision: 'float32' | 'bfloat16';
  readonly images: number;
  readonly texts: number;
  readonly twoStream: {
    readonly image: Extrapolated;
    readonly text: Extrapolated;
    /** All scores and the ranks of both directions: measured whole. */
    readonly scoreAndRankSeconds: number;
    readonly seconds: number;
    /** One query against the embedded images: the text tower, and scores with the best ten. */
    readonly query: { readonly towerMs: number; readonly searchMs: number };
  };
  /** On the CPU, in float32; none beside towers on a GPU. */
  readonly singleStream: readonly SingleStreamCost[];
  /** Faster R-CNN at 0.9 s an image, as the literature has it (SPEC 1). */
  readonly detector: { readonly secondsAnImage: 0.9; readonly seconds: number; readonly measured: false };
}

const cocoImages = 5000;
const cocoTexts = 25_000;
const imageBatch = { cpu: 8, gpu: 128 };
const textBatch = 250;
/** Tokens that pass a single-stream model in one call, unless the pairs are given: as many as in our towers. */
const tokensACall = 4608;
const queries = 20;
const detectorSeconds = 0.9;
/** Captions of COCO: 8 to 20 tokens, 13.5 on average. */
const leastTokens = 8;
const mostTokens = 19;

export async function benchRetrieval(options: BenchRetrievalOptions): Promise<BenchRetrievalResult> {
  const {
    images = cocoImages,
    texts = cocoTexts,
    sampleImages = 256,
    sampleTexts = 2000,
    calls = 3,
  } = options;
  if (texts < images)
    throw new OptionError(
      `Expected at least a text an image, got ${texts} texts for ${images} images. Raise the texts (--texts), or lower the images (--images).`,
    );
  const threads = resolveThreads(options.threads);
  const device = resolveDevice(options.device);
  const precision = device === 'cpu' ? 'float32' : 'bfloat16';
  const batch = device === 'cpu' ? imageBatch.cpu : imageBatch.gpu;
  const { config } = options;
  const description = describedModel({ ...config, model: resolveModelConfig(config.model) });
  const native = await binding().createModel({
    config: nativeModelConfig(description.config),
    seed: config.train.seed,
    threads,
    device,
    precision,
  });
  const stage = (name: string) => options.onStage?.(name);
  const sizes = { images, texts, sampleImages, sampleTexts, batch };
  const twoStream = await timeTwoStream(native, description, sizes, stage).finally(() => native.dispose());
  const { seconds } = twoStream;
  const detector = {
    secondsAnImage: detectorSeconds,
    seconds: images * detectorSeconds,
    measured: false,
  } as const;
  const singleStream: SingleStreamCost[] = [];
  for (const model of device === 'cpu' ? singleStreams(description) : []) {
    stage(model.name);
    const pairsACall = options.pairs ?? Math.max(1, Math.floor(tokensACall / model.tokens));
    const pairs = await ratePairs(
      { tokens: model.tokens, pairs: pairsACall, calls, threads },
      images * texts,
    );
    singleStream.push({
      name: model.name,
      tokens: model.tokens,
      pairs,
      ratio: pairs.seconds / seconds,
      ratioWithDetector: model.detector ? (pairs.seconds + detector.seconds) / seconds : null,
    });
  }

  return {
    precision,
    images,
    texts,
    twoStream,
    singleStream,
    detector,
    ...benchContext(threads, device),
  };
}

async function timeTwoStream(
  native: NativeModel,
  description: ModelDescription,
  sizes: { images: number; texts: number; sampleImages: number; sampleTexts: number; batch: number },
  stage: (name: string) => void,
): Promise<BenchRetrievalResult['twoStream']> {
  const { images, texts, sampleImages, sampleTexts, batch } = sizes;
  stage('image tower');
  const image = await rateOf(sampleImages, batch, images, imageCalls(native, description, batch));
  stage('text tower');
  const text = await rateOf(sampleTexts, textBatch, texts, textCalls(native, description));
  stage('scores and ranks');
  const scoreAndRankSeconds = await scoreAndRank(images, texts, embeddingWidth(description.config));
  stage('one query');
  const query = await timeQuery(native, description, images);
  const seconds = image.seconds + text.seconds + scoreAndRankSeconds;
  return { image, text, scoreAndRankSeconds, seconds, query };
}

/** (a) our patches and words in one sequence; (b) VinVL's regions and words. */
function singleStreams({ config }: ModelDescription) {
  const patches = 1 + (config.image.size / config.image.patch) ** 2;
  return [
    { name: `single stream, ${patches} patches and 40 words`, tokens: patches + 40, detector: false },
    { name: 'single stream, 70 regions and 70 words', tokens: 140, detector: true },
  ];
}

/** Calls `run(count, first)` over `sample` items after one call to warm up. */
async function rateOf(
  sample: number,
  batch: number,
  items: number,
  run: (count: number, first: number) => Promise<unknown>,
): Promise<Extrapolated> {
  await run(Math.min(batch, sample), 0);
  const start = performance.now();
  for (let first = 0; first < sample; first += batch) await run(Math.min(batch, sample - first), first);
  return extrapolate(sample, (performance.now() - start) / 1000, items);
}

function extrapolate(measured: number, seconds: number, items: number): Extrapolated {
  const perSecond = measured / seconds;
  return { measured, perSecond, items, seconds: items / perSecond };
}

/** Pixels in memory at the model's size: decoding is told apart by `bench encode`. */
function imageCalls(native: NativeModel, { config, image }: ModelDescription, batch: number) {
  const random = uniform(1);
  const bytes = config.image.size ** 2 * 3;
  const pixels = Uint8Array.from({ length: batch * bytes }, () => 256 * random());
  return (count: number) =>
    native.embedImages({
      pixels: pixels.subarray(0, count * bytes),
      count,
      mean: image.mean,
      std: image.std,
      cancel: null,
    });
}

function textCalls(native: NativeModel, { config }: ModelDescription) {
  const { vocabSize } = config.text;
  return (count: number, first: number) => {
    const random = uniform(first + 1);
    const lengths = Int32Array.from(
      { length: count },
      () => leastTokens + Math.floor((mostTokens - leastTokens + 1) * random()),
    );
    const ids = Int32Array.from({ length: count * mostTokens }, () => Math.floor(vocabSize * random()));
    return native.embedTexts({ ids, lengths, cancel: null });
  };
}

async function scoreAndRank(images: number, texts: number, dimension: number): Promise<number> {
  const imageOfText = Int32Array.from({ length: texts }, (_, text) => Math.floor((text * images) / texts));
  const input = { images: unitRows(images, dimension, 1), texts: unitRows(texts, dimension, 2), imageOfText };
  const start = performance.now();
  await evaluateRetrieval({ ...input, protocol: 'plain' });
  return (performance.now() - start) / 1000;
}

async function timeQuery(native: NativeModel, description: ModelDescription, images: number) {
  const width = embeddingWidth(description.config);
  const gallery = unitRows(images, width, 1);
  const embed = textCalls(native, description);
  const towers: number[] = [];
  const searches: number[] = [];
  for (let index = 0; index <= queries; index++) {
    const start = performance.now();
    const data = await embed(1, index);
    const middle = performance.now();
    await topK({ queries: { data, shape: [1, width] } as Matrix, gallery, k: Math.min(10, images) });
    if (index === 0) continue; // to warm up
    towers.push(middle - start);
    searches.push(performance.now() - middle);
  }

  return { towerMs: median(towers), searchMs: median(searches) };
}

async function ratePairs(
  work: { tokens: number; pairs: number; calls: number; threads: number },
  all: number,
): Promise<Extrapolated> {
  const seconds = await binding().timeCrossEncoder(work);
  return extrapolate(
    work.pairs * work.calls,
    seconds.reduce((sum, one) => sum + one, 0),
    all,
  );
}
