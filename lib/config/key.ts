/**
 * Builders of config keys: a zod type that carries its sentence, its rule in words and its default, so that messages,
 * `--help` and the documentation say the same thing from one place.
 */
import { z } from 'zod';

/** What a key says of itself. */
export interface KeyMeta {
  /** One sentence: what the key does, with its unit. */
  readonly description: string;
  /** The rule in words, as it follows "Expected ... to be". */
  readonly rule: string;
  /** True where an override is taken as text, never as a number. */
  readonly text?: boolean;
}

interface Range {
  readonly min?: number;
  readonly max?: number;
  /** `min` itself is refused. */
  readonly above?: boolean;
  readonly nullable?: boolean;
}

/** A whole number. */
export function integer(fallback: number, description: string, range: Range = {}) {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = range;
  return z
    .int()
    .min(min)
    .max(max)
    .default(fallback)
    .meta({ description, rule: `a whole number ${inWords(min, max)}` });
}

/** A whole number or null, null by default. */
export function optionalInteger(description: string, range: Range = {}) {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = range;
  return z
    .int()
    .min(min)
    .max(max)
    .nullable()
    .default(null)
    .meta({ description, rule: `null or a whole number ${inWords(min, max)}` });
}

/** A finite number. */
export function number(fallback: number, description: string, range: Range = {}) {
  const { min = 0, max = Infinity, above = false } = range;
  const lower = above ? z.number().gt(min) : z.number().min(min);
  return (max === Infinity ? lower : lower.max(max))
    .default(fallback)
    .meta({ description, rule: `a finite number ${inWords(min, max, above)}` });
}

/** true or false. */
export function flag(fallback: boolean, description: string) {
  return z.boolean().default(fallback).meta({ description, rule: 'true or false' });
}

/** One of a few names. */
export function choice<const T extends readonly [string, ...string[]]>(
  names: T,
  fallback: T[number],
  description: string,
) {
  return z
    .enum(names)
    .default(fallback as never)
    .meta({ description, rule: `one of ${names.join(', ')}` });
}

/** One of a few names or null, null by default. */
export function optionalChoice<const T extends readonly [string, ...string[]]>(
  names: T,
  description: string,
) {
  return z
    .enum(names)
    .nullable()
    .default(null)
    .meta({ description, rule: `null or one of ${names.join(', ')}` });
}

/** A path. */
export function filePath(fallback: string, description: string) {
  return z
    .string()
    .min(1)
    .default(fallback)
    .meta({ description, rule: 'a path (text that is not empty)', text: true });
}

/** A path or null, null by default. */
export function optionalPath(description: string) {
  return z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .meta({ description, rule: 'null or a path (text that is not empty)', text: true });
}

/** Two numbers low <= high, both above 0. */
export function interval(fallback: [number, number], description: string) {
  return z
    .tuple([z.number().gt(0), z.number().gt(0)])
    .refine(([low, high]) => low <= high)
    .default(fallback)
    .meta({ description, rule: 'two numbers [low, high] with 0 < low <= high' });
}

/** Three numbers, one a color channel (R, G, B). */
export function channels(
  fallback: [number, number, number],
  description: string,
  rule: string,
  above0: boolean,
) {
  const value = above0 ? z.number().gt(0) : z.number();
  return z.tuple([value, value, value]).default(fallback).meta({ description, rule });
}

/** A section of keys; unknown keys are refused and an absent section has its defaults. */
export function section<const T extends z.core.$ZodLooseShape>(shape: T) {
  return z.strictObject(shape).prefault({} as never);
}

function inWords(min: number, max: number, above = false): string {
  const lower = above ? `above ${min}` : `of at least ${min}`;
  if (max === Infinity || max === Number.MAX_SAFE_INTEGER) return min === -Infinity ? 'of any size' : lower;
  return above ? `above ${min} and at most ${max}` : `from ${min} to ${max}`;
}
