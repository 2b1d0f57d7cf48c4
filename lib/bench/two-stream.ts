/** Seconds of retrieval by two towers: each item embedded once, all scores and ranks, and one query by itself. */
import type { Matrix, NativeModel } from '../binding.js';
import { embeddingWidth } from '../config/load.js';
import { evaluateRetrieval } from '../evaluate/retrieval.js';
import type { ModelDescription } from '../model/config-file.js';
import { topK } from '../ops.js';
import { uniform, unitRows } from './synthetic.js';
import { median } from './timing.js';

/** A rate on a sample, and the seconds it gives for all. */
export interface Extrapolated {
  readonly measured: number;
  readonly perSecond: number;
  readonly items: number;
  /** items / perSecond. */
  readonly seconds: number;
}

/** What retrieval over a test set costs two towers. */
export interface TwoStreamCost {
  readonly image: Extrapolated;
  readonly text: Extrapolated;
  /** All scores and the ranks of both directions: measured whole. */
  readonly scoreAndRankSeconds: number;
  readonly seconds: number;
  /** One query against the embedded images: the text tower, and scores with the best ten. */
  readonly query: { readonly towerMs: number; readonly searchMs: number };
}

const textBatch = 250;
const queries = 20;
/** Captions of COCO: 8 to 20 tokens, 13.5 on average. */
const leastTokens = 8;
const mostTokens = 19;

/** Random images and captions of COCO's lengths through the towers, then scores and ranks of random unit rows. */
export async function timeTwoStream(
  native: NativeModel,
  description: ModelDescription,
  sizes: { images: number; texts: number; sampleImages: number; sampleTexts: number; batch: number },
  stage: (name: string) => void,
): Promise<TwoStreamCost> {
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

export function extrapolate(measured: number, seconds: number, items: number): Extrapolated {
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
