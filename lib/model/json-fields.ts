/** Typed reads of the JSON files of a model. */
import { CheckpointError } from '../errors.js';

/** Typed reads of a JSON object, with the file and key in every message. */
export class Fields {
  readonly #file: string;
  readonly #value: Record<string, unknown>;

  constructor(file: string, value: unknown) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new CheckpointError(
        `Expected ${file} to hold a JSON object, got ${JSON.stringify(value)?.slice(0, 60)}.`,
      );
    }

    this.#file = file;
    this.#value = value as Record<string, unknown>;
  }

  value(key: string): unknown {
    return this.#value[key];
  }

  /** All keys with their values. */
  entries(): [string, unknown][] {
    return Object.entries(this.#value);
  }

  number(key: string, fallback?: number): number {
    const value = this.#value[key] ?? fallback;
    if (typeof value !== 'number') throw this.#wrong(key, 'a number');
    return value;
  }

  /** A side, or two equal ones. */
  square(key: string, fallback?: number): number {
    const value = this.#value[key] ?? fallback;
    const [side, other] = Array.isArray(value) ? value : [value, value];
    if (typeof side !== 'number' || side !== other) throw this.#wrong(key, 'a number, or two equal ones');
    return side;
  }

  whole(key: string, min: number, max: number, fallback?: number): number {
    const value = this.#value[key] ?? fallback;
    if (!Number.isInteger(value) || (value as number) < min || (value as number) > max)
      throw this.#wrong(key, `a whole number from ${min} to ${max}`);
    return value as number;
  }

  oneOf<T extends string>(key: string, allowed: readonly T[]): T {
    const value = this.#value[key] as T;
    if (!allowed.includes(value)) throw this.#wrong(key, `one of ${allowed.join(', ')}`);
    return value;
  }

  text(key: string): string {
    const value = this.#value[key];
    if (typeof value !== 'string') throw this.#wrong(key, 'a text');
    return value;
  }

  section(key: string): Fields {
    if (typeof this.#value[key] !== 'object') throw this.#wrong(key, 'an object');
    return new Fields(`"${key}" of ${this.#file}`, this.#value[key]);
  }

  channels(key: string): [number, number, number] {
    const value = this.#value[key];
    if (!Array.isArray(value) || value.length !== 3 || !value.every(Number.isFinite))
      throw this.#wrong(key, 'three numbers');
    return value as [number, number, number];
  }

  /** What pixels are divided by. */
  deviations(key: string): [number, number, number] {
    const channels = this.channels(key);
    if (!channels.every((value) => value > 0)) throw this.#wrong(key, 'three numbers above 0');
    return channels;
  }

  #wrong(key: string, rule: string): CheckpointError {
    return new CheckpointError(
      `Expected "${key}" in ${this.#file} to be ${rule}, got ${JSON.stringify(this.#value[key])}. Restore the file from its source.`,
    );
  }
}
