/** What augmentation does to one image: the crop of torchvision's RandomResizedCrop, a flip, color jitter (SPEC 2.5). */
import type { NativeTransform } from '../binding.js';
import type { TrainConfig } from '../config/schema.js';
import { KeyedRandom, sites } from './random.js';

export type Augmentation = TrainConfig['data']['aug'];

/** A box in pixels. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** The draws that a crop takes; a `KeyedRandom`, or fixed values in a test. */
export interface Draws {
  between(low: number, high: number): number;
  below(count: number): number;
}

const attempts = 10;

/** Draws the transform of one sample: (seed, global sample index) decide it alone. */
export function drawTransform(
  width: number,
  height: number,
  aug: Augmentation,
  seed: number,
  sample: number,
): NativeTransform {
  const { crop, flip, jitter } = aug;
  const box = randomResizedCrop(
    width,
    height,
    crop.scale,
    crop.ratio,
    new KeyedRandom(seed, sites.crop, sample),
  );
  return {
    ...box,
    flip: flip > 0 && new KeyedRandom(seed, sites.flip, sample).uniform() < flip,
    jitter: drawJitter(jitter, new KeyedRandom(seed, sites.jitter, sample)),
  };
}

/** The transform of evaluation: the whole image, aspect not kept. */
export function wholeImage(width: number, height: number): NativeTransform {
  return { left: 0, top: 0, width, height, flip: false, jitter: null };
}

/**
 * torchvision's `RandomResizedCrop.get_params`: ten tries of a uniform area and a log-uniform aspect ratio, then the largest
 * centered box whose ratio is in range.
 * @param scale share of the area [low, high]; `ratio` width over height [low, high].
 */
export function randomResizedCrop(
  width: number,
  height: number,
  scale: readonly [number, number],
  ratio: readonly [number, number],
  draws: Draws,
): Box {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const area = width * height * draws.between(scale[0], scale[1]);
    const aspect = Math.exp(draws.between(Math.log(ratio[0]), Math.log(ratio[1])));
    const w = roundHalfEven(Math.sqrt(area * aspect));
    const h = roundHalfEven(Math.sqrt(area / aspect));
    if (w > 0 && w <= width && h > 0 && h <= height) {
      const top = draws.below(height - h + 1);
      const left = draws.below(width - w + 1);
      return { left, top, width: w, height: h };
    }
  }

  return centeredBox(width, height, ratio);
}

function centeredBox(width: number, height: number, ratio: readonly [number, number]): Box {
  const own = width / height;
  const w = own > ratio[1] ? Math.max(1, roundHalfEven(height * ratio[1])) : width;
  const h = own < ratio[0] ? Math.max(1, roundHalfEven(width / ratio[0])) : height;
  return { left: Math.floor((width - w) / 2), top: Math.floor((height - h) / 2), width: w, height: h };
}

/** torchvision's ColorJitter: factors in [max(0, 1 - v), 1 + v], the three in a random order. */
function drawJitter(strength: Augmentation['jitter'], random: KeyedRandom): NativeTransform['jitter'] {
  const factor = (value: number) => random.between(Math.max(0, 1 - value), 1 + value);
  if (strength.brightness === 0 && strength.contrast === 0 && strength.saturation === 0) return null;
  return {
    brightness: factor(strength.brightness),
    contrast: factor(strength.contrast),
    saturation: factor(strength.saturation),
    order: random.below(6),
  };
}

/** Python's round: halves to the even neighbor. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
