import test from 'ava';
import { KeyedRandom, sites } from '../../lib/data/random.js';
import { frameAt, sampleFrames, segmentDraws, segmentMidpoints } from '../../lib/video/sample-frames.js';

const even = (count: number, rate: number) => ({
  timestamps: Float64Array.from({ length: count }, (_, frame) => frame / rate),
  duration: count / rate,
});

test('midpoints are (start + end) // 2 of the parts that numpy.linspace gives', (t) => {
  // [(a + b) // 2 for a, b in zip(x, x[1:])], x = np.linspace(0, length, parts + 1).astype(int)
  t.deepEqual(segmentMidpoints(250, 12), [10, 30, 51, 72, 93, 114, 135, 155, 176, 197, 218, 239]);
  t.deepEqual(segmentMidpoints(7, 3), [1, 3, 5]);
  t.deepEqual(segmentMidpoints(1, 12), [0]);
  t.deepEqual(segmentMidpoints(5, 12), [0, 1, 2, 3, 4]);
  t.deepEqual(segmentMidpoints(12, 12), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
});

test('draws stay in their part, reach both of its ends, and depend on their key alone', (t) => {
  const seen = [new Set<number>(), new Set<number>(), new Set<number>()];
  for (let sample = 0; sample < 200; sample++) {
    const draws = segmentDraws(7, 3, new KeyedRandom(1, sites.permutation, sample));
    t.deepEqual(draws, segmentDraws(7, 3, new KeyedRandom(1, sites.permutation, sample)));
    for (const [part, frame] of draws.entries()) seen[part]?.add(frame);
  }

  t.deepEqual(
    seen.map((frames) => [...frames].sort()),
    [
      [0, 1],
      [2, 3],
      [4, 5, 6],
    ],
  );
  t.deepEqual(segmentDraws(2, 4, new KeyedRandom(1, sites.permutation, 0)), [0, 1]);
});

test('fps takes what is on screen every 1 / fps seconds, each frame once', (t) => {
  t.deepEqual(sampleFrames(even(100, 25), { fps: 1 }), [0, 25, 50, 75]);
  t.deepEqual(sampleFrames(even(100, 25), { fps: 12.5 }).slice(0, 4), [0, 2, 4, 6]);
  t.deepEqual(sampleFrames(even(4, 2), { fps: 30 }), [0, 1, 2, 3]);
  t.deepEqual(sampleFrames(even(1, 25), { fps: 1 }), [0]);
  const uneven = { timestamps: Float64Array.of(0, 0.1, 2.5, 2.6), duration: 2.7 };
  t.deepEqual(sampleFrames(uneven, { fps: 1 }), [0, 1]);
});

test('times take the frame on screen, the ends beyond them', (t) => {
  const { timestamps } = even(10, 10);
  t.is(frameAt(timestamps, -5), 0);
  t.is(frameAt(timestamps, 0.35), 3);
  t.is(frameAt(timestamps, 0.3), 3);
  t.is(frameAt(timestamps, 99), 9);
  t.deepEqual(sampleFrames(even(10, 10), { times: [0.55, 0.1, 0.11] }), [1, 5]);
});

test('all takes every frame', (t) => t.deepEqual(sampleFrames(even(3, 25), { all: true }), [0, 1, 2]));
