import test from 'ava';
import { type Cursor, epochLength, Sampler } from '../../lib/data/sampler.js';

const make = (
  items: number,
  extra: { seed?: number; cursor?: Cursor; weights?: Float64Array; captions?: number } = {},
) =>
  new Sampler({
    seed: extra.seed ?? 1,
    items,
    captions: () => extra.captions ?? 5,
    cursor: extra.cursor,
    weights: extra.weights,
  });
const draw = (sampler: Sampler, count: number) => Array.from({ length: count }, () => sampler.next());

test('an epoch has every item once, in another order each time', (t) => {
  const draws = draw(make(50), 150);
  const epochs = [0, 1, 2].map((epoch) => draws.filter((one) => one.epoch === epoch).map(({ item }) => item));
  for (const items of epochs)
    t.deepEqual(
      [...items].sort((a, b) => a - b),
      Array.from({ length: 50 }, (_, item) => item),
    );
  t.notDeepEqual(epochs[0], epochs[1]);
  t.deepEqual(
    draws.map(({ sample }) => sample),
    Array.from({ length: 150 }, (_, sample) => sample),
  );
});

test('the seed decides everything', (t) => {
  t.deepEqual(draw(make(20), 60), draw(make(20), 60));
  t.notDeepEqual(draw(make(20), 60), draw(make(20, { seed: 2 }), 60));
});

test('each caption is taken about as often', (t) => {
  const counts = [0, 0, 0, 0, 0];
  for (const { caption } of draw(make(10), 5000)) counts[caption] = (counts[caption] ?? Number.NaN) + 1;
  for (const count of counts) t.true(Math.abs(count - 1000) < 130, `${counts}`);
  t.true(draw(make(3, { captions: 0 }), 9).every(({ caption }) => caption === 0));
});

test('a cursor goes on exactly, at any place and at the edge of an epoch', (t) => {
  const all = draw(make(7), 40);
  for (const behind of [0, 1, 6, 7, 8, 13, 14, 29]) {
    const sampler = make(7);
    draw(sampler, behind);
    const cursor = JSON.parse(JSON.stringify(sampler.cursor)) as Cursor;
    t.deepEqual(draw(make(7, { cursor }), 40 - behind), all.slice(behind));
  }
});

test('weights: whole ones exactly, parts on average, 0 never', (t) => {
  const weights = Float64Array.from([2, 1, 0.25, 0, 1.5]);
  t.is(epochLength(5, weights), 4.75);
  const counts = [0, 0, 0, 0, 0];
  const sampler = make(5, { weights });
  let drawn = sampler.next();
  for (; drawn.epoch < 400; drawn = sampler.next())
    counts[drawn.item] = (counts[drawn.item] ?? Number.NaN) + 1;
  t.is(counts[0], 800);
  t.is(counts[1], 400);
  t.is(counts[3], 0);
  t.true(Math.abs((counts[2] as number) - 100) < 40, `${counts}`);
  t.true(Math.abs((counts[4] as number) - 600) < 40, `${counts}`);
});

test('a cursor of another data set, or a broken one, is refused', (t) => {
  t.is(
    t.throws(() => make(8, { cursor: { epoch: 0, position: 1, sample: 1, items: 7 } }))?.message,
    'Expected the data set that the run began with (7 images), got 8. Restore it, or start a new run.',
  );
  t.is(
    t.throws(() => make(8, { cursor: { epoch: 0, position: -1, sample: 1, items: 8 } }))?.message,
    'Expected a data cursor of whole numbers, got {"epoch":0,"position":-1,"sample":1,"items":8}. Resume from another checkpoint.',
  );
  t.is(
    t.throws(() => make(0))?.message,
    'Expected data.train to hold pairs, got none. Check its path and split.',
  );
  t.is(
    t.throws(() => make(2, { weights: Float64Array.of(0, 0) }))?.message,
    'Expected a pair of data.train with a weight above 0, got none. Raise a weight.',
  );
});

test('ranks share one order: none twice, none left out, as many each, over epochs of any length', (t) => {
  const weights = Float64Array.from({ length: 23 }, (_, item) => (item % 3) / 2 + 0.5);
  const one = draw(make(23, { weights }), 240);
  for (const worldSize of [2, 3, 5, 8]) {
    const count = 240 / worldSize;
    const ranks = Array.from({ length: worldSize }, (_, rank) => {
      const sampler = new Sampler({ seed: 1, items: 23, captions: () => 5, weights, rank, worldSize });
      return { draws: draw(sampler, count), cursor: sampler.cursor };
    });
    const merged = ranks.flatMap(({ draws }) => draws).sort((a, b) => a.sample - b.sample);
    t.deepEqual(merged, one.slice(0, count * worldSize));
    for (const { cursor } of ranks) t.deepEqual(cursor, ranks[0]?.cursor);
  }
});

test('a rank goes on from the cursor that all ranks have; a rank outside the world is refused', (t) => {
  const of = (rank: number, cursor?: Cursor) =>
    new Sampler({ seed: 3, items: 10, captions: () => 2, rank, worldSize: 4, cursor });
  const [whole, begun] = [of(2), of(2)];
  const draws = draw(whole, 20);
  draw(begun, 7);
  t.deepEqual(draw(of(2, begun.cursor), 13), draws.slice(7));
  t.throws(() => of(4), {
    code: 'ERR_COTS_OPTION',
    message: /`rank` to be a whole number from 0 to 3, got 4/,
  });
});
