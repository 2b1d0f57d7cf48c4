/** Image-text retrieval: ranks, recalls, ties and chance (SPEC 5.1). Legend: I images, T texts, D embedding. */
import { binding, type Matrix } from '../binding.js';
import * as check from '../checks.js';
import { OptionError } from '../errors.js';
import { callSite, fromSite, PendingCalls } from '../native-call.js';
import { expectedRecalls, meanOf, measures, type Recalls, recalls } from './measures.js';
import { type Fold, foldsOf, type Protocol, protocolNames } from './protocols.js';

/** Recalls with the ranks' median and mean. */
export interface DirectionResult extends Recalls {
  medianRank: number;
  meanRank: number;
}

export interface RetrievalResult {
  protocol: Protocol;
  n: { images: number; texts: number };
  /** Each image against all texts: the rank of its best text. */
  imageToText: DirectionResult;
  /** Each text against all images. */
  textToImage: DirectionResult;
  /** Sum of the six R@K, 0 to 600. */
  rsum: number;
  /** Queries whose optimistic rank differs from the pessimistic one, over all folds. */
  ties: { imageToText: number; textToImage: number };
  /** Expected R@K of a random order, in percent. */
  chance: { imageToText: Recalls; textToImage: Recalls };
  /** R@K with ties counted for the query. */
  optimistic: { imageToText: Recalls; textToImage: Recalls };
  /** 1-based pessimistic ranks in input order, within their fold. */
  ranks: { imageToText: Int32Array; textToImage: Int32Array };
}

export interface EvaluateRetrievalOptions {
  /** Unit rows [I, D], I >= 1. */
  readonly images: Matrix;
  /** Unit rows [T, D]. */
  readonly texts: Matrix;
  /** Row of `images` that each text belongs to, length T. */
  readonly imageOfText: Int32Array;
  readonly protocol: Protocol;
  readonly signal?: AbortSignal;
}

/**
 * Ranks every image among the texts and every text among the images by dot product, in float32, streaming: never I x T
 * scores in memory. Ties count against the query; the optimistic figures stand beside. R@K in percent.
 * Rejects `ERR_COTS_DATA` for an image without a text, an index out of range or sizes that the protocol does not have,
 * `ERR_COTS_SHAPE`, and `ERR_COTS_NON_FINITE`.
 */
export async function evaluateRetrieval(o: EvaluateRetrievalOptions): Promise<RetrievalResult> {
  const site = callSite(evaluateRetrieval);
  return fromSite(site, async () => {
    check.options('evaluateRetrieval', o, ['images', 'texts', 'imageOfText', 'protocol', 'signal']);
    const protocol = check.oneOf('protocol', o?.protocol, protocolNames);
    const images = check.matrix('images', o.images);
    const texts = check.matrix('texts', o.texts, { columns: images.shape[1] });
    const signal = check.signal(o.signal);
    check.integer('images.shape[0]', images.shape[0], 1);
    if (!(o.imageOfText instanceof Int32Array)) {
      throw new OptionError(
        `Expected \`imageOfText\` to be an Int32Array, got ${check.show(o.imageOfText)}.`,
      );
    }

    if (o.imageOfText.length !== texts.shape[0]) {
      throw check.shapeError(
        `Expected \`imageOfText\` to hold one index a text (${texts.shape[0]}), got ${o.imageOfText.length}.`,
      );
    }

    const folds = foldsOf(protocol, images.shape[0], o.imageOfText);
    const ranked = [];
    for (const fold of folds) ranked.push(await rankFold(fold, images, texts, o.imageOfText, signal));
    return summarize(protocol, folds, ranked, texts.shape[0], images.shape[0]);
  });
}

interface FoldRanks {
  readonly imageToText: { pessimistic: Int32Array; optimistic: Int32Array };
  readonly textToImage: { pessimistic: Int32Array; optimistic: Int32Array };
  /** Texts of each image of the fold. */
  readonly counts: Int32Array;
}

async function rankFold(
  fold: Fold,
  images: Matrix,
  texts: Matrix,
  imageOfText: Int32Array,
  signal: AbortSignal | undefined,
): Promise<FoldRanks> {
  const whole = fold.texts.length === texts.shape[0];
  const columns = images.shape[1];
  const foldImages: Matrix = {
    data: images.data.subarray(fold.begin * columns, fold.end * columns),
    shape: [fold.end - fold.begin, columns],
  };
  const foldTexts = whole ? texts : gatherRows(texts, fold.texts);
  const owner = fold.texts.map((text) => (imageOfText[text] as number) - fold.begin);
  const counts = new Int32Array(fold.end - fold.begin);
  for (const image of owner) counts[image] = (counts[image] as number) + 1;
  const ranks = await new PendingCalls('evaluation').run(signal, (cancel) =>
    binding().retrievalRanks({ images: foldImages, texts: foldTexts, imageOfText: owner, cancel }),
  );
  return { ...ranks, counts };
}

function gatherRows(from: Matrix, rows: Int32Array): Matrix {
  const columns = from.shape[1];
  const data = new Float32Array(rows.length * columns);
  for (const [to, row] of rows.entries())
    data.set(from.data.subarray(row * columns, (row + 1) * columns), to * columns);
  return { data, shape: [rows.length, columns] };
}

function summarize(
  protocol: Protocol,
  folds: Fold[],
  ranked: FoldRanks[],
  texts: number,
  images: number,
): RetrievalResult {
  const imageToText = meanOf(ranked.map((fold) => measures(fold.imageToText.pessimistic)));
  const textToImage = meanOf(ranked.map((fold) => measures(fold.textToImage.pessimistic)));
  const ranks = { imageToText: new Int32Array(images), textToImage: new Int32Array(texts) };
  for (const [index, { begin, texts: textsOfFold }] of folds.entries()) {
    const fold = ranked[index] as FoldRanks;
    ranks.imageToText.set(fold.imageToText.pessimistic, begin);
    for (const [row, text] of textsOfFold.entries())
      ranks.textToImage[text] = fold.textToImage.pessimistic[row] as number;
  }

  return {
    protocol,
    n: { images, texts },
    imageToText,
    textToImage,
    rsum: [imageToText, textToImage].reduce((sum, { r1, r5, r10 }) => sum + r1 + r5 + r10, 0),
    ties: {
      imageToText: sum(ranked.map((fold) => tied(fold.imageToText))),
      textToImage: sum(ranked.map((fold) => tied(fold.textToImage))),
    },
    chance: {
      imageToText: meanOf(
        ranked.map(({ counts, textToImage: t }) => expectedRecalls(t.pessimistic.length, counts)),
      ),
      textToImage: meanOf(ranked.map(({ counts }) => expectedRecalls(counts.length, [1]))),
    },
    optimistic: {
      imageToText: meanOf(ranked.map((fold) => recalls(fold.imageToText.optimistic))),
      textToImage: meanOf(ranked.map((fold) => recalls(fold.textToImage.optimistic))),
    },
    ranks,
  };
}

function tied(ranks: { pessimistic: Int32Array; optimistic: Int32Array }): number {
  return ranks.pessimistic.reduce(
    (count, rank, query) => count + (rank === ranks.optimistic[query] ? 0 : 1),
    0,
  );
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
