import test from 'ava';
import { expectedRecalls, meanOf, measures, recalls } from '../../lib/evaluate/measures.js';

test('recalls are percents of ranks within 1, 5 and 10', (t) => {
  t.deepEqual(recalls(Int32Array.of(1, 2, 5, 6, 10, 11, 1, 100)), { r1: 25, r5: 50, r10: 75 });
});

test('the median of an even number of ranks is the mean of the two middle ones', (t) => {
  t.is(measures(Int32Array.of(4, 1, 100, 2)).medianRank, 3);
  t.is(measures(Int32Array.of(9, 1, 2)).medianRank, 2);
  t.is(measures(Int32Array.of(10, 9, 100)).medianRank, 10);
  t.is(measures(Int32Array.of(4, 1, 100, 2)).meanRank, 26.75);
});

test('chance with one positive is K / N', (t) => {
  const { r1, r5, r10 } = expectedRecalls(1000, [1]);
  for (const [found, want] of [
    [r1, 0.1],
    [r5, 0.5],
    [r10, 1],
  ] as const)
    t.true(Math.abs(found - want) < 1e-12, `${found}`);
});

/** Counts, over all orders of n places of m positives, how often one is among the first k. */
function counted(n: number, m: number, k: number): number {
  let hits = 0;
  let all = 0;
  for (let set = 0; set < 1 << n; set++) {
    const places = [...Array(n).keys()].filter((place) => (set >> place) & 1);
    if (places.length !== m) continue;
    all++;
    if (places.some((place) => place < k)) hits++;
  }

  return (100 * hits) / all;
}

test('chance with several positives equals the count over all orders', (t) => {
  for (const [n, m] of [
    [7, 2],
    [12, 3],
    [12, 5],
    [4, 4],
  ] as const) {
    const { r1, r5, r10 } = expectedRecalls(n, [m]);
    t.true(Math.abs(r1 - counted(n, m, 1)) < 1e-9, `n ${n} m ${m}: ${r1}`);
    t.true(Math.abs(r5 - counted(n, m, 5)) < 1e-9);
    t.true(Math.abs(r10 - counted(n, m, 10)) < 1e-9);
  }
});

test('chance is the mean over queries of different numbers of positives', (t) => {
  t.true(Math.abs(expectedRecalls(10, [1, 3]).r1 - 20) < 1e-9);
});

test('a mean of records is taken field by field', (t) => {
  t.deepEqual(
    meanOf([
      { a: 1, b: 10 },
      { a: 3, b: 20 },
    ]),
    { a: 2, b: 15 },
  );
});
