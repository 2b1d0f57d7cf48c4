import test from 'ava';
import { KeyedRandom, shuffle, sites } from '../../lib/data/random.js';

const first = (seed: number, site: (typeof sites)[keyof typeof sites], ...numbers: number[]) =>
  new KeyedRandom(seed, site, ...numbers).uniform();

test('a draw depends on each part of its key', (t) => {
  const base = first(1, sites.crop, 2, 3);
  t.is(first(1, sites.crop, 2, 3), base);
  const others = [
    first(2, sites.crop, 2, 3),
    first(1, sites.flip, 2, 3),
    first(1, sites.crop, 3, 3),
    first(1, sites.crop, 2, 4),
    first(1, sites.crop, 2),
  ];
  t.is(
    new Set([
      base,
      ...others,
      first(1, sites.crop, 3, 2),
      first(1, sites.crop, 2 + 2 ** 32, 3),
      first(2 ** 32 + 1, sites.crop, 2, 3),
    ]).size,
    9,
  );
});

test('draws do not change between versions', (t) => {
  const random = new KeyedRandom(7, sites.permutation, 0);
  const drawn = [random.uniform(), random.uniform(), random.below(1000), random.between(-1, 1)];
  t.deepEqual(drawn, [0.9513522797722951, 0.8853720433801819, 446, -0.5581374086255237]);
});

test('uniform draws of neighboring keys are uniform and uncorrelated', (t) => {
  const count = 40_000;
  const buckets = new Uint32Array(64);
  let previous = 0.5;
  let product = 0;
  let square = 0;
  for (let sample = 0; sample < count; sample++) {
    const value = first(3, sites.flip, sample);
    const bucket = Math.floor(value * 64);
    buckets[bucket] = (buckets[bucket] ?? 0) + 1;
    product += (value - 0.5) * (previous - 0.5);
    square += (value - 0.5) ** 2;
    previous = value;
  }

  const chi = buckets.reduce((sum, found) => sum + (found - count / 64) ** 2 / (count / 64), 0);
  t.true(chi < 63 + 4 * Math.sqrt(126), `chi-square ${chi}`);
  t.true(Math.abs(product / square) < 4 / Math.sqrt(count), `correlation ${product / square}`);
});

test('within a stream: uniform, and below() without bias', (t) => {
  const random = new KeyedRandom(1, sites.jitter, 5);
  const counts = [0, 0, 0, 0, 0, 0];
  for (let draw = 0; draw < 60_000; draw++) {
    const drawn = random.below(6);
    counts[drawn] = (counts[drawn] ?? Number.NaN) + 1;
  }

  for (const count of counts) t.true(Math.abs(count - 10_000) < 400, `${counts}`);
  t.is(new KeyedRandom(1, sites.jitter, 5).below(1), 0);
  const low = Array.from({ length: 6000 }, () => random.below(3 * 2 ** 30)).filter(
    (value) => value < 2 ** 30,
  ).length;
  t.true(Math.abs(low - 2000) < 200, `${low}`);
});

test('a shuffle keeps all values; each goes everywhere', (t) => {
  const where = new Uint32Array(16);
  for (let epoch = 0; epoch < 4000; epoch++) {
    const list = shuffle(Uint32Array.from([0, 1, 2, 3]), new KeyedRandom(1, sites.permutation, epoch));
    t.is(new Set(list).size, 4);
    for (const [at, value] of list.entries()) where[4 * at + value] = (where[4 * at + value] ?? 0) + 1;
  }

  for (const count of where) t.true(Math.abs(count - 1000) < 130, `${where}`);
});
