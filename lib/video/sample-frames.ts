/** Which frames of a video stand for it (SPEC 5.2): pure functions of its frames' times. */
import * as check from '../checks.js';
import type { KeyedRandom } from '../data/random.js';
import { OptionError } from '../errors.js';

/**
 * `frames`: one of each of N equal parts (at most all); `fps`: those on screen every 1 / fps seconds; `times`: those on screen
 * at the seconds given; `all`: every one.
 */
export type Sampling =
  | { readonly frames: number }
  | { readonly fps: number }
  | { readonly times: readonly number[] }
  | { readonly all: true };

/** What sampling looks at. */
export interface SampledTable {
  /** Seconds, ascending. */
  readonly timestamps: Float64Array;
  /** Seconds. */
  readonly duration: number;
}

/** Frames a video has without another wish (SPEC `eval.frames`). */
export const defaultFrames = 12;

/** Frame numbers, ascending, each once. */
export function sampleFrames({ timestamps, duration }: SampledTable, sampling: Sampling): number[] {
  if ('frames' in sampling) return segmentMidpoints(timestamps.length, sampling.frames);
  if ('fps' in sampling) return everySecond(timestamps, duration, sampling.fps);
  if ('times' in sampling) return distinct(sampling.times.map((time) => frameAt(timestamps, time)));
  return Array.from(timestamps, (_, frame) => frame);
}

/** The middle frame, (start + end) // 2, of each of `count` equal parts of [0, length); all frames of a shorter video. */
export function segmentMidpoints(length: number, count: number): number[] {
  return segments(length, count).map(([start, end]) => (start + end) >> 1);
}

/** A random frame of each part, its last one included. */
export function segmentDraws(length: number, count: number, random: KeyedRandom): number[] {
  return segments(length, count).map(([start, end]) => start + random.below(end - start));
}

/** [start, end) of the parts: whole numbers, none empty, as `numpy.linspace(0, length, parts + 1).astype(int)` gives them. */
function segments(length: number, count: number): [start: number, end: number][] {
  const parts = Math.min(count, length);
  const bound = (part: number): number => Math.floor((part * length) / parts);
  return Array.from({ length: parts }, (_, part) => [bound(part), bound(part + 1)]);
}

/** At 0, 1 / fps, 2 / fps, ... from the first frame; a frame that stays on screen longer counts once. */
function everySecond(timestamps: Float64Array, duration: number, fps: number): number[] {
  const start = timestamps[0] as number;
  const count = Math.max(1, Math.ceil(duration * fps - tolerance));
  const frames: number[] = [];
  let frame = 0;
  for (let tick = 0; tick < count; tick++) {
    const time = start + tick / fps + tolerance;
    while (frame + 1 < timestamps.length && (timestamps[frame + 1] as number) <= time) frame++;
    if (frames.at(-1) !== frame) frames.push(frame);
  }

  return frames;
}

/** Times are ticks of the container made seconds: a tenth of a microsecond is none of them. */
const tolerance = 1e-7;

/** The frame on screen at a time, the first before the beginning and the last after the end. */
export function frameAt(timestamps: Float64Array, time: number): number {
  let [low, high] = [0, timestamps.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((timestamps[middle] as number) <= time + tolerance) low = middle;
    else high = middle - 1;
  }

  return low;
}

function distinct(frames: readonly number[]): number[] {
  return [...new Set(frames)].sort((a, b) => a - b);
}

/** The sampling that options ask for. Throws `ERR_COTS_OPTION`. */
export function checkSampling({ frames, fps }: { frames?: unknown; fps?: unknown }): Sampling {
  if (frames !== undefined && fps !== undefined)
    throw new OptionError(
      `Expected either \`frames\` or \`fps\`, got both (${check.show(frames)} and ${check.show(fps)}). Leave one out.`,
    );
  if (fps !== undefined) return { fps: check.finite('fps', fps, 0, 1000, true) };
  return { frames: check.integer('frames', frames ?? defaultFrames, 1, 100_000) };
}
