/** `bench encode`: the latency and rate of one tower (SPEC 5.3: decoding is told apart). */
import path from 'node:path';
import { binding, type NativeModel, type NativePlacement } from '../binding.js';
import { imageFlops, textFlops } from '../config/flops.js';
import { resolveModelConfig } from '../config/load.js';
import { nativeModelConfig } from '../config/native.js';
import type { TrainConfig } from '../config/schema.js';
import { wholeImage } from '../data/augment.js';
import { type DecodedImage, decodeImage } from '../data/decode.js';
import { cleanCaption } from '../data/text/clean.js';
import { TextTokenizer } from '../data/text/tokenizer.js';
import { countWords, makeVocabulary } from '../data/text/vocabulary.js';
import {
  type Device,
  measurePeak,
  type Precision,
  resolveDevice,
  resolvePrecision,
  resolveThreads,
} from '../device.js';
import {
  describedModel,
  type ModelDescription,
  modelFiles,
  readModelDescription,
} from '../model/config-file.js';
import { viewOf } from '../model/image-input.js';
import { checkModelFolder } from '../model/model-folder.js';
import { type BenchContext, benchContext } from './machine.js';
import { syntheticCaption, syntheticJpeg, uniform } from './synthetic.js';
import { type Latency, latency, median, repeatFor } from './timing.js';

export interface BenchEncodeOptions {
  /** A model folder, or a config with random weights. */
  readonly source: { readonly model: string } | { readonly config: TrainConfig };
  readonly modality: 'image' | 'text';
  /** @default 'cpu' */
  readonly device?: Device | undefined;
  /** @default 'float32' on a CPU, 'bfloat16' on CUDA */
  readonly precision?: Precision | undefined;
  /** Items of one native call. */
  readonly batchSize: number;
  /** Time to measure for, at least. */
  readonly seconds: number;
  readonly threads?: number | undefined;
}

export interface BenchEncodeResult extends BenchContext {
  readonly modality: 'image' | 'text';
  readonly precision: Precision;
  readonly batchSize: number;
  /** Of the tower: copy, forward and normalise, one call after another. */
  readonly itemsPerSecond: number;
  /** Of one native call of `batchSize` items. */
  readonly latencyMs: Latency;
  /** Median milliseconds a batch. `normalise` happens inside the native call and is part of `forward`: 0. */
  readonly stages: {
    readonly decode: number;
    readonly preprocess: number;
    readonly copy: number;
    readonly forward: number;
    readonly normalise: 0;
  };
  readonly flopsPerItem: number;
  /** Flops a second over `peakFlops`. */
  readonly utilisation: number;
  /** Flops a second (of 8-bit integers: operations) of a dense product of the same number type on the same device, measured in the same run. */
  readonly peakFlops: number;
  readonly tokens?: { readonly mean: number; readonly longest: number };
}

interface Prepared {
  readonly call: () => Promise<Float32Array>;
  readonly decode: number;
  readonly preprocess: number;
  readonly flops: number;
  readonly tokens?: { mean: number; longest: number };
}

const leastCalls = 3;
const leastWords = 6;
const mostWords = 17; // captions of COCO have 8 to 20 tokens, 13.5 on average

export async function benchEncode(options: BenchEncodeOptions): Promise<BenchEncodeResult> {
  const device = resolveDevice(options.device);
  const placement = { device, precision: resolvePrecision(options.precision, device) };
  const threads = resolveThreads(options.threads);
  const { description, native, tokenizer } = await openSource(options.source, threads, placement);
  const copies: number[] = [];
  let prepared: Prepared;
  let times: number[];
  try {
    prepared =
      options.modality === 'image'
        ? await prepareImages(description, native, options.batchSize)
        : await prepareTexts(description, native, tokenizer, options.batchSize);
    times = await repeatFor(options.seconds, leastCalls, async () => {
      const start = performance.now();
      const promise = prepared.call(); // copies its input before it returns
      copies.push(performance.now() - start);
      await promise;
    });
  } finally {
    native.dispose();
  }

  const peakFlops = await measurePeak(threads, placement);
  const { modality, batchSize } = options;
  const { precision } = placement;
  const copy = median(copies);
  const itemsPerSecond = (batchSize * times.length * 1000) / times.reduce((sum, time) => sum + time, 0);
  return {
    modality,
    precision,
    batchSize,
    itemsPerSecond,
    latencyMs: latency(times),
    stages: {
      decode: prepared.decode,
      preprocess: prepared.preprocess,
      copy,
      forward: median(times) - copy,
      normalise: 0,
    },
    flopsPerItem: prepared.flops,
    utilisation: (itemsPerSecond * prepared.flops) / peakFlops,
    peakFlops,
    ...(prepared.tokens === undefined ? {} : { tokens: prepared.tokens }),
    ...benchContext(threads, device),
  };
}

async function openSource(
  source: BenchEncodeOptions['source'],
  threads: number,
  placement: NativePlacement,
): Promise<{ description: ModelDescription; native: NativeModel; tokenizer: TextTokenizer | null }> {
  if ('model' in source) {
    await checkModelFolder(source.model);
    const description = await readModelDescription(source.model);
    const file = path.join(source.model, modelFiles.weights);
    const native = await binding().loadModel({
      config: nativeModelConfig(description.config),
      file,
      threads,
      ...placement,
    });
    return {
      description,
      native,
      tokenizer:
        description.config.towers === 'image'
          ? null
          : await TextTokenizer.load(path.join(source.model, modelFiles.tokenizer)),
    };
  }

  const { config } = source;
  const description = describedModel({ ...config, model: resolveModelConfig(config.model) });
  const native = await binding().createModel({
    config: nativeModelConfig(description.config),
    seed: config.train.seed,
    threads,
    ...placement,
  });
  return { description, native, tokenizer: null };
}

async function prepareImages(
  { config, image }: ModelDescription,
  native: NativeModel,
  batchSize: number,
): Promise<Prepared> {
  const { size } = config.image;
  const jpegs = await Promise.all(
    Array.from({ length: batchSize }, (_, seed) => syntheticJpeg(Math.round((size * 4) / 3), size, seed)),
  );
  let pixels = new Uint8Array(0);
  const decodes: number[] = [];
  const preprocesses: number[] = [];
  for (let repeat = 0; repeat < leastCalls; repeat++) {
    const start = performance.now();
    const decoded = await Promise.all(jpegs.map((jpeg) => decodeImage(jpeg)));
    const middle = performance.now();
    const [views] = await binding().makeViews({
      images: decoded.map((one) => ({ ...one, transform: wholeImage(one.width, one.height) })),
      views: [viewOf(decoded[0] as DecodedImage, size, image)],
    });
    decodes.push(middle - start);
    preprocesses.push(performance.now() - middle);
    pixels = views as Uint8Array<ArrayBuffer>;
  }

  return {
    call: () =>
      native.embedImages({ pixels, count: batchSize, mean: image.mean, std: image.std, cancel: null }),
    decode: median(decodes),
    preprocess: median(preprocesses),
    flops: imageFlops(config),
  };
}

async function prepareTexts(
  { config, text }: ModelDescription,
  native: NativeModel,
  given: TextTokenizer | null,
  batchSize: number,
): Promise<Prepared> {
  const random = uniform(1);
  const captions = Array.from({ length: batchSize }, (_, index) =>
    syntheticCaption(leastWords + (index % (mostWords - leastWords + 1)), 500, random),
  );
  const tokenizer =
    given ??
    TextTokenizer.fromVocabulary(
      makeVocabulary(await countWords(captions), { size: config.text.vocabSize, minCount: 1 }),
    );
  const preprocesses: number[] = [];
  const encode = () =>
    tokenizer.encodeBatch(
      captions.map((caption) => cleanCaption(caption, text.clean, text.maxWords)),
      text.maxLength,
    );
  for (let repeat = 0; repeat < leastCalls; repeat++) {
    const start = performance.now();
    encode();
    preprocesses.push(performance.now() - start);
  }

  const { ids, lengths } = encode();
  const flops = lengths.reduce((sum, tokens) => sum + textFlops(config, tokens), 0) / batchSize;
  return {
    call: () => native.embedTexts({ ids, lengths, cancel: null }),
    decode: 0,
    preprocess: median(preprocesses),
    flops,
    tokens: {
      mean: lengths.reduce((sum, tokens) => sum + tokens, 0) / batchSize,
      longest: Math.max(...lengths),
    },
  };
}
