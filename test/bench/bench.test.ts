/** The clocks and the made inputs of the benchmarks. */
import test from 'ava';
import sharp from 'sharp';
import { fitLine } from '../../bench/line-fit.js';
import { syntheticCaption, syntheticJpeg, uniform, unitRows } from '../../lib/bench/synthetic.js';
import { latency, median, repeatFor } from '../../lib/bench/timing.js';
import { TextTokenizer } from '../../lib/data/text/tokenizer.js';
import { countWords, makeVocabulary } from '../../lib/data/text/vocabulary.js';

test('a line by least squares: the first set of Anscombe (1973)', (t) => {
  const x = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5];
  const y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68];
  const fit = fitLine(x.map((value, index) => [value, y[index] as number]));
  t.true(Math.abs(fit.intercept - 3.0001) < 1e-4 && Math.abs(fit.slope - 0.5001) < 1e-4);
  t.true(Math.abs(fit.rSquared - 0.6665) < 1e-4);
  const exact = fitLine([
    [1, 5],
    [2, 7],
    [4, 11],
  ]);
  t.true(exact.largestDeviation < 1e-12 && Math.abs(exact.slope - 2) < 1e-12);
});

test('percentiles take the nearest rank; the median of an even number is between', (t) => {
  t.deepEqual(latency(Array.from({ length: 100 }, (_, i) => 100 - i)), { p50: 50, p95: 95, p99: 99 });
  t.deepEqual(latency([7]), { p50: 7, p95: 7, p99: 7 });
  t.is(median([4, 1, 3, 2]), 2.5);
  t.is(median([9, 1, 5]), 5);
});

test('a warm-up call is made and not counted', async (t) => {
  let calls = 0;
  const times = await repeatFor(0, 3, async () => {
    calls++;
  });
  t.is(times.length, 3);
  t.is(calls, 4);
});

test('made JPEGs have the size asked for, the weight of photographs, and follow their seed', async (t) => {
  const jpeg = await syntheticJpeg(320, 240, 1);
  t.like(await sharp(jpeg).metadata(), { format: 'jpeg', width: 320, height: 240 });
  const bitsAPixel = (8 * jpeg.length) / (320 * 240);
  t.true(bitsAPixel > 1 && bitsAPixel < 6, `${bitsAPixel}`);
  t.true(jpeg.equals(await syntheticJpeg(320, 240, 1)));
  t.false(jpeg.equals(await syntheticJpeg(320, 240, 2)));
});

test('a made caption of n words is n tokens of a vocabulary made from it', async (t) => {
  const captions = Array.from({ length: 50 }, () => syntheticCaption(9, 40, uniform(3)));
  const tokenizer = TextTokenizer.fromVocabulary(
    makeVocabulary(await countWords(captions), { size: 400, minCount: 1 }),
  );
  for (const caption of captions) t.is(tokenizer.encode(caption).length, 11);
});

test('unit rows have length 1 and differ', (t) => {
  const { data, shape } = unitRows(4, 32, 1);
  t.deepEqual(shape, [4, 32]);
  for (let row = 0; row < 4; row++)
    t.true(Math.abs(Math.hypot(...data.subarray(row * 32, row * 32 + 32)) - 1) < 1e-6);
  t.notDeepEqual(data.subarray(0, 32), data.subarray(32, 64));
});
