/**
 * `bench retrieval`: the paper's speed claim made checkable (SPEC 5.3). What retrieval over a whole test set costs two towers, each item
 * once, and what it costs a single-stream model, each pair once. Rates are measured on samples and multiplied out; every term is told.
 */
import { binding } from '../binding.js';
import { resolveModelConfig } from '../config/load.js';
import { nativeModelConfig } from '../config/native.js';
import type { TrainConfig } from '../config/schema.js';
import { type Device, resolveDevice, resolveThreads } from '../device.js';
import { OptionError } from '../errors.js';
import { describedModel, type ModelDescription } from '../model/config-file.js';
import { type BenchContext, benchContext } from './machine.js';
import { type Extrapolated, extrapolate, type TwoStreamCost, timeTwoStream } from './two-stream.js';

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
  readonly twoStream: TwoStreamCost;
  /** On the CPU, in float32; none beside towers on a GPU. */
  readonly singleStream: readonly SingleStreamCost[];
  /** Faster R-CNN at 0.9 s an image, as the literature has it (SPEC 1). */
  readonly detector: { readonly secondsAnImage: 0.9; readonly seconds: number; readonly measured: false };
}

const cocoImages = 5000;
const cocoTexts = 25_000;
const imageBatch = { cpu: 8, gpu: 128 };
/** Tokens that pass a single-stream model in one call, unless the pairs are given: as many as in our towers. */
const tokensACall = 4608;
const detectorSeconds = 0.9;
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

/** (a) our patches and words in one sequence; (b) VinVL's regions and words. */
function singleStreams({ config }: ModelDescription) {
  const patches = 1 + (config.image.size / config.image.patch) ** 2;
  return [
    { name: `single stream, ${patches} patches and 40 words`, tokens: patches + 40, detector: false },
    { name: 'single stream, 70 regions and 70 words', tokens: 140, detector: true },
  ];
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
