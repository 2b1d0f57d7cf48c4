/** Public ops: values on hand-made input, and every refusal. The golden comparisons with PyTorch and Pillow are in test/golden. */
import test from 'ava';
import { CotsError, type Matrix, ops } from '../lib/index.js';

const matrix = (rows: number[][]): Matrix => ({
  data: Float32Array.from(rows.flat()),
  shape: [rows.length, rows[0]?.length ?? 1],
});
const none = (columns: number): Matrix => ({ data: new Float32Array(0), shape: [0, columns] });

const unit = matrix([
  [1, 0],
  [0, 1],
]);
const pair = {
  image: unit,
  text: unit,
  imageKey: unit,
  textKey: unit,
  imageQueue: none(2),
  textQueue: none(2),
  temperature: 0.5,
};

test('queueContrast: an empty queue gives loss 0 and gradient 0', async (t) => {
  const result = await ops.queueContrast(pair);
  t.is(result.loss, 0);
  t.deepEqual(result.gradImage, { data: new Float32Array(4), shape: [2, 2] });
  t.deepEqual(result.gradText.shape, [2, 2]);
  t.is(result.gradLogScale, 0);
});

test('queueContrast: one orthogonal negative gives ln(1 + exp(-1 / tau)) a direction, KL 0', async (t) => {
  const one = matrix([[1, 0]]);
  const negative = matrix([[0, 1]]);
  const result = await ops.queueContrast({
    ...pair,
    image: one,
    text: one,
    imageKey: one,
    textKey: one,
    imageQueue: negative,
    textQueue: negative,
  });
  const want = Math.log1p(Math.exp(-2));
  t.true(Math.abs(result.imageToText - want) < 1e-6, `${result.imageToText}`);
  t.true(Math.abs(result.textToImage - want) < 1e-6);
  t.true(Math.abs(result.task) < 1e-7);
  t.true(Math.abs(result.loss - 2 * want) < 1e-6);
  const q = 1 / (1 + Math.exp(2));
  t.true(Math.abs((result.gradImage.data[0] as number) - 2 * -q) < 1e-6);
  t.true(Math.abs((result.gradImage.data[1] as number) - 2 * q) < 1e-6);
});

test('queueContrast: the weights divide by max(sum, 1)', async (t) => {
  const queue = matrix([[0.6, 0.8]]);
  const both = { ...pair, imageQueue: queue, textQueue: queue };
  const all = await ops.queueContrast(both);
  const first = await ops.queueContrast({ ...both, weights: Float32Array.of(1, 0) });
  const second = await ops.queueContrast({ ...both, weights: Float32Array.of(0, 1) });
  const nobody = await ops.queueContrast({ ...both, weights: Float32Array.of(0, 0) });
  t.true(Math.abs(all.loss - (first.loss + second.loss) / 2) < 1e-6);
  t.is(nobody.loss, 0);
  t.deepEqual([...nobody.gradImage.data], [0, 0, 0, 0]);
});

test('momentumFilter: mean, population deviation, threshold, and who passes', async (t) => {
  const result = await ops.momentumFilter({
    scores: Float32Array.of(0, 1, 2),
    queueScores: Float32Array.of(1, 2, 3, 4),
    deviations: 1,
  });
  t.is(result.mean, 2.5);
  t.is(result.std, Math.sqrt(1.25));
  t.is(result.threshold, 2.5 - Math.sqrt(1.25));
  t.deepEqual([...result.keep], [0, 0, 1]);
});

test('momentumFilter: deviations are 2 when left out; a flat queue keeps everyone', async (t) => {
  const two = await ops.momentumFilter({
    scores: Float32Array.of(0.26, 0.27),
    queueScores: Float32Array.of(1, 2, 3, 4),
  });
  t.is(two.threshold, 2.5 - 2 * Math.sqrt(1.25));
  t.deepEqual([...two.keep], [0, 1]);
  const flat = await ops.momentumFilter({
    scores: Float32Array.of(-1, 5),
    queueScores: Float32Array.of(1, 1, 1),
  });
  t.deepEqual([...flat.keep], [1, 1]);
});

test('topK: best first, ties by lower index', async (t) => {
  const gallery = matrix([
    [0, 1],
    [1, 0],
    [1, 0],
    [0.5, 0.5],
  ]);
  const found = await ops.topK({
    queries: matrix([
      [1, 0],
      [0, 2],
    ]),
    gallery,
    k: 3,
  });
  t.deepEqual(found.shape, [2, 3]);
  t.deepEqual([...found.indices], [1, 2, 3, 0, 3, 1]);
  t.deepEqual([...found.scores], [1, 1, 0.5, 2, 1, 0]);
});

test('topK: no queries give no rows', async (t) => {
  const found = await ops.topK({ queries: none(2), gallery: unit, k: 1 });
  t.deepEqual(found.shape, [0, 1]);
  t.is(found.indices.length, 0);
});

test('resize: a flat image stays flat; 1x1 grows', async (t) => {
  const out = await ops.resize({
    data: Uint8Array.of(7, 80, 255),
    width: 1,
    height: 1,
    to: [3, 2],
    filter: 'bicubic',
  });
  t.deepEqual([...out], Array.from({ length: 6 }, () => [7, 80, 255]).flat());
});

const refuse = test.macro({
  async exec(t, call: () => Promise<unknown>, code: string, message: RegExp) {
    const error = await t.throwsAsync(call, { instanceOf: CotsError, message });
    t.is((error as CotsError).code as string, code);
    t.regex(error?.stack ?? '', /ops\.test/);
  },
  title: (provided) => `refused: ${provided}`,
});

const scores = Float32Array.of(1);
const pixels = {
  data: new Uint8Array(12),
  width: 2,
  height: 2,
  to: [1, 1] as [number, number],
  filter: 'bicubic' as const,
};
test(
  'NaN in a row',
  refuse,
  () =>
    ops.queueContrast({
      ...pair,
      text: matrix([
        [1, Number.NaN],
        [0, 1],
      ]),
    }),
  'ERR_COTS_NON_FINITE',
  /`text`.*finite, got NaN at index 1/,
);
test(
  'rows that disagree',
  refuse,
  () => ops.queueContrast({ ...pair, text: matrix([[1, 0]]) }),
  'ERR_COTS_SHAPE',
  /`text` to have 2 rows, got 1/,
);
test(
  'queues that disagree',
  refuse,
  () => ops.queueContrast({ ...pair, textQueue: unit }),
  'ERR_COTS_SHAPE',
  /`textQueue` to have 0 rows, got 2/,
);
test(
  'a matrix of another length than its shape',
  refuse,
  () => ops.queueContrast({ ...pair, image: { data: new Float32Array(3), shape: [2, 2] } }),
  'ERR_COTS_SHAPE',
  /2 x 2 = 4 values, got 3/,
);
test(
  'a weight above 1',
  refuse,
  () => ops.queueContrast({ ...pair, weights: Float32Array.of(1, 2) }),
  'ERR_COTS_OPTION',
  /`weights\[1\]`.*at most 1, got 2/,
);
test(
  'weights of another length',
  refuse,
  () => ops.queueContrast({ ...pair, weights: Float32Array.of(1) }),
  'ERR_COTS_SHAPE',
  /`weights` to hold 2 values, got 1/,
);
test(
  'temperature 0',
  refuse,
  () => ops.queueContrast({ ...pair, temperature: 0 }),
  'ERR_COTS_OPTION',
  /`temperature` to be above 0, got 0/,
);
test(
  'temperature NaN',
  refuse,
  () => ops.queueContrast({ ...pair, temperature: Number.NaN }),
  'ERR_COTS_NON_FINITE',
  /`temperature`/,
);
test(
  'an unknown option',
  refuse,
  () => ops.queueContrast({ ...pair, tempreature: 1 } as never),
  'ERR_COTS_OPTION',
  /`tempreature`. Did you mean `temperature`/,
);
test(
  'CUDA without CUDA',
  refuse,
  () => ops.queueContrast({ ...pair, device: 'cuda' }),
  'ERR_COTS_DEVICE',
  /'cuda'/,
);
test(
  'an empty queue of scores',
  refuse,
  () => ops.momentumFilter({ scores, queueScores: new Float32Array(0) }),
  'ERR_COTS_OPTION',
  /`queueScores` to hold at least one/,
);
test(
  'an infinite score',
  refuse,
  () => ops.momentumFilter({ scores: Float32Array.of(Infinity), queueScores: scores }),
  'ERR_COTS_NON_FINITE',
  /`scores`/,
);
test(
  'k above the gallery',
  refuse,
  () => ops.topK({ queries: unit, gallery: unit, k: 3 }),
  'ERR_COTS_OPTION',
  /`k` to be at most the gallery's 2 rows, got 3/,
);
test('k 0', refuse, () => ops.topK({ queries: unit, gallery: unit, k: 0 }), 'ERR_COTS_OPTION', /`k`/);
test(
  'a gallery of another width',
  refuse,
  () => ops.topK({ queries: unit, gallery: matrix([[1, 2, 3]]), k: 1 }),
  'ERR_COTS_SHAPE',
  /`gallery` to have 2 columns, got 3/,
);
test(
  'pixels of another length',
  refuse,
  () => ops.resize({ ...pixels, data: new Uint8Array(11) }),
  'ERR_COTS_SHAPE',
  /3 \* 2 \* 2 = 12 bytes, got 11/,
);
test(
  'an unknown filter',
  refuse,
  () => ops.resize({ ...pixels, filter: 'bicubik' as 'bicubic' }),
  'ERR_COTS_OPTION',
  /Did you mean 'bicubic'/,
);
test('a size of 0', refuse, () => ops.resize({ ...pixels, to: [0, 1] }), 'ERR_COTS_OPTION', /`to\[0\]`/);
test(
  'no options at all',
  refuse,
  () => ops.topK(undefined as never),
  'ERR_COTS_OPTION',
  /`queries` to be a matrix/,
);

test('what a caller does to its arrays after the call changes nothing', async (t) => {
  const queries = { data: Float32Array.of(1, 0), shape: [1, 2] as [number, number] };
  const gallery = { data: Float32Array.of(0, 1, 1, 0), shape: [2, 2] as [number, number] };
  const pending = ops.topK({ queries, gallery, k: 1 });
  gallery.data.fill(0);
  queries.data.fill(Number.NaN);
  const { indices, scores } = await pending;
  t.deepEqual([...indices, ...scores], [1, 1]);
});
