import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { packageRoot } from '../../lib/binding.js';
import { resolveConfig } from '../../lib/config/load.js';
import { drawTransform, randomResizedCrop, wholeImage } from '../../lib/data/augment.js';

interface Crop {
  width: number;
  height: number;
  scale: [number, number];
  ratio: [number, number];
  draws: number[][];
  box: [number, number, number, number];
}
const crops = JSON.parse(
  readFileSync(path.join(packageRoot(), 'test/reference/fixtures/crops.json'), 'utf8'),
) as Crop[];
const { aug } = resolveConfig({}, [], 'plan').data;

test("the boxes of torchvision's RandomResizedCrop for the same draws", (t) => {
  for (const { width, height, scale, ratio, draws, box } of crops) {
    let next = 0;
    const replay = {
      between: (low: number, high: number) => {
        const [wantLow, wantHigh, value] = draws[next++] as [number, number, number];
        t.true(Math.abs(low - wantLow) < 1e-6 && Math.abs(high - wantHigh) < 1e-6);
        return value;
      },
      below: (count: number) => {
        const [want, value] = draws[next++] as [number, number];
        t.is(count, want);
        return value;
      },
    };
    const got = randomResizedCrop(width, height, scale, ratio, replay);
    t.deepEqual([got.left, got.top, got.width, got.height], box);
    t.is(next, draws.length);
  }

  t.true(
    crops.some(({ draws }) => draws.length === 20),
    'a row in which all ten tries fail',
  );
});

test('halves are rounded to the even neighbor, as Python does', (t) => {
  const draws = { between: (low: number) => low, below: () => 0 };
  t.deepEqual(randomResizedCrop(5, 100, [1, 1], [2, 2], draws), { left: 0, top: 49, width: 5, height: 2 });
  t.deepEqual(randomResizedCrop(7, 100, [1, 1], [2, 2], draws), { left: 0, top: 48, width: 7, height: 4 });
});

test('crops stay inside, within scale and ratio', (t) => {
  for (let sample = 0; sample < 3000; sample++) {
    const { left, top, width, height } = drawTransform(100, 80, aug, 1, sample);
    t.true(left >= 0 && top >= 0 && left + width <= 100 && top + height <= 80);
    const area = (width * height) / 8000;
    t.true(area > 0.19 && area <= 1, `${area}`);
    t.true(width / height > 0.72 && width / height < 1.37);
  }
});

test('a transform depends on seed and sample alone, flips half of them, never with flip 0', (t) => {
  t.deepEqual(drawTransform(50, 40, aug, 3, 9), drawTransform(50, 40, aug, 3, 9));
  t.notDeepEqual(drawTransform(50, 40, aug, 3, 9), drawTransform(50, 40, aug, 3, 10));
  t.notDeepEqual(drawTransform(50, 40, aug, 3, 9), drawTransform(50, 40, aug, 4, 9));
  const flips = (flip: number) =>
    Array.from({ length: 2000 }, (_, sample) => drawTransform(8, 8, { ...aug, flip }, 1, sample)).filter(
      (one) => one.flip,
    ).length;
  t.true(Math.abs(flips(0.5) - 1000) < 100);
  t.is(flips(0), 0);
  t.is(flips(1), 2000);
});

test('jitter: factors in [1 - v, 1 + v], six orders, none at 0', (t) => {
  const orders = new Set<number>();
  const strong = { ...aug, jitter: { brightness: 0.4, contrast: 0, saturation: 1 } };
  for (let sample = 0; sample < 500; sample++) {
    const { jitter } = drawTransform(8, 8, strong, 1, sample);
    t.true(
      jitter !== null &&
        jitter.brightness >= 0.6 &&
        jitter.brightness <= 1.4 &&
        jitter.saturation >= 0 &&
        jitter.saturation <= 2,
    );
    t.is(jitter?.contrast, 1);
    orders.add(jitter?.order ?? -1);
  }

  t.deepEqual([...orders].sort(), [0, 1, 2, 3, 4, 5]);
  const off = { brightness: 0, contrast: 0, saturation: 0 };
  t.is(drawTransform(8, 8, { ...aug, jitter: off }, 1, 0).jitter, null);
});

test('evaluation takes the whole image', (t) => {
  t.deepEqual(wholeImage(30, 20), { left: 0, top: 0, width: 30, height: 20, flip: false, jitter: null });
});
