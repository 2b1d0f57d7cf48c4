/** Ranks on hand-made matrices; the definition written out is the judge. */
import test from 'ava';
import {
  CotsError,
  evaluateRetrieval,
  type Matrix,
  type Protocol,
  type RetrievalResult,
} from '../../lib/index.js';

const matrix = (rows: readonly (readonly number[])[]): Matrix => ({
  data: Float32Array.from(rows.flat()),
  shape: [rows.length, rows[0]?.length ?? 1],
});

/** SPEC 5.1, word by word, in float64. */
function ranksByDefinition(images: number[][], texts: number[][], owner: number[], pessimistic: boolean) {
  const score = (i: number, t: number): number =>
    (images[i] as number[]).reduce((sum, x, d) => sum + x * ((texts[t] as number[])[d] as number), 0);
  const beats = (other: number, own: number): boolean => (pessimistic ? other >= own : other > own);
  const imageToText = images.map((_, i) => {
    const own = Math.max(...owner.flatMap((o, t) => (o === i ? [score(i, t)] : [])));
    return 1 + owner.filter((o, t) => o !== i && beats(score(i, t), own)).length;
  });
  const textToImage = owner.map(
    (o, t) => 1 + images.filter((_, i) => i !== o && beats(score(i, t), score(o, t))).length,
  );
  return { imageToText, textToImage };
}

/** Small integers over 8: every score is exact in float32, and ties abound. */
function randomRows(rows: number, columns: number, seed: number): number[][] {
  let state = seed;
  const next = (): number => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return (Math.floor(state / 65_536) % 5) - 2;
  };
  return Array.from({ length: rows }, () => Array.from({ length: columns }, () => next() / 8));
}

for (const [count, perImage, columns] of [
  [7, 3, 3],
  [40, 5, 4],
  [257, 2, 5],
] as const) {
  test(`ranks, ties and recalls of ${count} images x ${perImage} texts are those of the definition`, async (t) => {
    const images = randomRows(count, columns, 1);
    const texts = randomRows(count * perImage, columns, 2);
    const owner = texts.map((_, index) => (index * 3) % count);
    const result = await evaluateRetrieval({
      images: matrix(images),
      texts: matrix(texts),
      imageOfText: Int32Array.from(owner),
      protocol: 'plain',
    });
    const worst = ranksByDefinition(images, texts, owner, true);
    const best = ranksByDefinition(images, texts, owner, false);
    t.deepEqual([...result.ranks.imageToText], worst.imageToText);
    t.deepEqual([...result.ranks.textToImage], worst.textToImage);
    t.is(result.ties.imageToText, worst.imageToText.filter((rank, i) => rank !== best.imageToText[i]).length);
    t.is(result.ties.textToImage, worst.textToImage.filter((rank, i) => rank !== best.textToImage[i]).length);
    t.is(result.textToImage.r5, (100 * worst.textToImage.filter((rank) => rank <= 5).length) / owner.length);
    t.is(
      result.optimistic.imageToText.r1,
      (100 * best.imageToText.filter((rank) => rank <= 1).length) / count,
    );
    t.true(result.ties.textToImage > 0, 'the data must have ties for this test to mean anything');
  });
}

test('a constant matrix scores at chance or below, not perfectly', async (t) => {
  const flat = matrix(Array.from({ length: 20 }, () => [1, 0]));
  const result = await evaluateRetrieval({
    images: flat,
    texts: flat,
    imageOfText: Int32Array.from({ length: 20 }, (_, i) => i),
    protocol: 'plain',
  });
  t.is(result.imageToText.r1, 0);
  t.is(result.textToImage.medianRank, 20);
  t.is(result.optimistic.textToImage.r1, 100);
  t.deepEqual(result.ties, { imageToText: 20, textToImage: 20 });
  t.true(Math.abs(result.chance.textToImage.r1 - 5) < 1e-9);
  t.is(result.rsum, 0);
});

test('a perfect matrix: recalls 100, ranks 1, rsum 600', async (t) => {
  const eye = matrix(
    Array.from({ length: 12 }, (_, i) => Array.from({ length: 12 }, (_, j) => (i === j ? 1 : 0))),
  );
  const result = await evaluateRetrieval({
    images: eye,
    texts: eye,
    imageOfText: Int32Array.from({ length: 12 }, (_, i) => i),
    protocol: 'plain',
  });
  t.deepEqual(result.imageToText, { r1: 100, r5: 100, r10: 100, medianRank: 1, meanRank: 1 });
  t.is(result.rsum, 600);
  t.deepEqual(result.n, { images: 12, texts: 12 });
});

test('coco-1k-5fold is the mean of five folds of consecutive images, each with its own texts', async (t) => {
  const columns = 3;
  const images = randomRows(5000, columns, 5);
  const texts = randomRows(25_000, columns, 6);
  const owner = Int32Array.from(texts, (_, index) => (index * 1231) % 5000);
  const whole = await evaluateRetrieval({
    images: matrix(images),
    texts: matrix(texts),
    imageOfText: owner,
    protocol: 'coco-1k-5fold',
  });
  const folds: RetrievalResult[] = [];
  for (let fold = 0; fold < 5; fold++) {
    const inside = [...owner.keys()].filter((text) => Math.floor((owner[text] as number) / 1000) === fold);
    const part = await evaluateRetrieval({
      images: matrix(images.slice(fold * 1000, (fold + 1) * 1000)),
      texts: matrix(inside.map((text) => texts[text] as number[])),
      imageOfText: Int32Array.from(inside, (text) => (owner[text] as number) - fold * 1000),
      protocol: 'plain',
    });
    folds.push(part);
    t.deepEqual(whole.ranks.imageToText.slice(fold * 1000, (fold + 1) * 1000), part.ranks.imageToText);
    t.deepEqual(
      inside.map((text) => whole.ranks.textToImage[text]),
      [...part.ranks.textToImage],
    );
  }

  const mean = (pick: (result: RetrievalResult) => number): number =>
    folds.reduce((sum, fold) => sum + pick(fold), 0) / 5;
  t.true(Math.abs(whole.textToImage.r10 - mean((fold) => fold.textToImage.r10)) < 1e-9);
  t.true(Math.abs(whole.imageToText.medianRank - mean((fold) => fold.imageToText.medianRank)) < 1e-9);
  t.true(Math.abs(whole.rsum - mean((fold) => fold.rsum)) < 1e-6);
  t.is(
    whole.ties.textToImage,
    folds.reduce((sum, fold) => sum + fold.ties.textToImage, 0),
  );
  t.deepEqual(whole.n, { images: 5000, texts: 25_000 });
});

const sizes = (
  images: number,
  texts: number,
): { images: Matrix; texts: Matrix; imageOfText: Int32Array } => ({
  images: { data: new Float32Array(images), shape: [images, 1] },
  texts: { data: new Float32Array(texts), shape: [texts, 1] },
  imageOfText: Int32Array.from({ length: texts }, (_, text) => text % images),
});

const refuse = test.macro({
  async exec(t, options: object, code: string, message: RegExp) {
    const error = await t.throwsAsync(() => evaluateRetrieval(options as never), {
      instanceOf: CotsError,
      message,
    });
    t.is((error as CotsError).code as string, code);
    t.regex(error?.stack ?? '', /retrieval\.test/);
  },
  title: (provided) => `refused: ${provided}`,
});
const plain = { protocol: 'plain' as Protocol };
test('an image without a text', refuse, { ...sizes(3, 2), ...plain }, 'ERR_COTS_DATA', /image 2 has none/);
test(
  'an index above the images',
  refuse,
  { ...sizes(2, 2), imageOfText: Int32Array.of(0, 2), ...plain },
  'ERR_COTS_DATA',
  /`imageOfText\[1\]`.*from 0 to 1, got 2/,
);
test(
  'an index below 0',
  refuse,
  { ...sizes(2, 2), imageOfText: Int32Array.of(-1, 1), ...plain },
  'ERR_COTS_DATA',
  /got -1/,
);
test(
  'fewer indices than texts',
  refuse,
  { ...sizes(2, 2), imageOfText: Int32Array.of(0), ...plain },
  'ERR_COTS_SHAPE',
  /one index a text \(2\), got 1/,
);
test(
  'coco-5k of 1,000 images',
  refuse,
  { ...sizes(1000, 5000), protocol: 'coco-5k' },
  'ERR_COTS_DATA',
  /5000 images x 5 texts.*got 1000 images/,
);
test(
  'coco-5k with 25,010 texts',
  refuse,
  { ...sizes(5000, 25_010), protocol: 'coco-5k' },
  'ERR_COTS_DATA',
  /image 0 has 6 texts/,
);
test(
  'flickr30k-1k of one text an image',
  refuse,
  { ...sizes(1000, 1000), protocol: 'flickr30k-1k' },
  'ERR_COTS_DATA',
  /1000 images x 5 texts/,
);
test(
  'msrvtt-1ka of five texts a video',
  refuse,
  { ...sizes(1000, 5000), protocol: 'msrvtt-1ka' },
  'ERR_COTS_DATA',
  /1000 images x 1 text/,
);
test(
  'an unknown protocol',
  refuse,
  { ...sizes(2, 2), protocol: 'coco5k' },
  'ERR_COTS_OPTION',
  /Did you mean 'coco-5k'/,
);
test('no protocol', refuse, sizes(2, 2), 'ERR_COTS_OPTION', /`protocol`/);
test(
  'NaN',
  refuse,
  { ...sizes(2, 2), images: matrix([[1], [Number.NaN]]), ...plain },
  'ERR_COTS_NON_FINITE',
  /`images`/,
);
test('no images', refuse, { ...sizes(0, 0), ...plain }, 'ERR_COTS_OPTION', /images/);

test('an aborted signal rejects with its reason before any work', async (t) => {
  const reason = new Error('enough');
  const error = await t.throwsAsync(() =>
    evaluateRetrieval({ ...sizes(2, 2), ...plain, signal: AbortSignal.abort(reason) }),
  );
  t.is(error, reason);
});
