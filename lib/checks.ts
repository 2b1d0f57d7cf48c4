/** Checks of what a caller typed. Each throws an `OptionError` that names the option, the rule, the value and the way out, or returns the narrowed value. */
import type { Matrix } from './binding.js';
import { CotsError, OptionError } from './errors.js';

/** A value in a message: short, quoted when it is text. */
export function show(value: unknown): string {
  if (typeof value === 'string') return value.length > 60 ? `'${value.slice(0, 57)}...'` : `'${value}'`;
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean')
    return String(value);
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'function') return 'a function';
  if (ArrayBuffer.isView(value) && 'length' in value)
    return `${value.constructor.name}(${String(value.length)})`;
  if (Array.isArray(value))
    return value.length <= 8 ? `[${value.map(show).join(', ')}]` : `an array of ${value.length}`;
  return `an instance of ${(value as object).constructor?.name ?? 'Object'}`;
}

/** The known name nearest to a wrong one, if any is near. */
export function nearest(wrong: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(wrong.length / 3)) + 1;
  for (const name of known) {
    const distance = name.toLowerCase() === wrong.toLowerCase() ? 0 : editDistance(wrong, name);
    if (distance < bestDistance) [best, bestDistance] = [name, distance];
  }

  return best;
}

/** Options must be an object without unknown keys; `undefined` counts as empty. */
export function options<T extends object>(where: string, value: T | undefined, known: readonly string[]): T {
  if (value === undefined) return {} as T;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new OptionError(`Expected the options of ${where} to be an object, got ${show(value)}.`);
  }

  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    const near = nearest(key, known);
    const hint = near === undefined ? `Known options: ${known.join(', ')}.` : `Did you mean \`${near}\`?`;
    throw new OptionError(`Expected only known options of ${where}, got \`${key}\`. ${hint}`);
  }

  return value;
}

/** A whole number in [min, max]. */
export function integer(name: string, value: unknown, min: number, max = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
    throw new OptionError(`Expected \`${name}\` to be a whole number ${range}, got ${show(value)}.`);
  }

  return value;
}

/** A finite number in [min, max]; with `exclusive` the lower end itself is refused. */
export function finite(
  name: string,
  value: unknown,
  min = -Infinity,
  max = Infinity,
  exclusive = false,
): number {
  if (typeof value !== 'number')
    throw new OptionError(`Expected \`${name}\` to be a number, got ${show(value)}.`);
  if (!Number.isFinite(value)) {
    throw new CotsError(
      'ERR_COTS_NON_FINITE',
      `Expected \`${name}\` to be a finite number, got ${show(value)}.`,
    );
  }

  if (value < min || value > max || (exclusive && value === min)) {
    const lower = exclusive ? `above ${min}` : `at least ${min}`;
    const range = max === Infinity ? lower : `${lower} and at most ${max}`;
    throw new OptionError(`Expected \`${name}\` to be ${range}, got ${show(value)}.`);
  }

  return value;
}

export function boolean(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean')
    throw new OptionError(`Expected \`${name}\` to be true or false, got ${show(value)}.`);
  return value;
}

/** Text that is not empty. */
export function text(name: string, value: unknown): string {
  if (typeof value !== 'string' || value === '') {
    throw new OptionError(`Expected \`${name}\` to be a text that is not empty, got ${show(value)}.`);
  }

  return value;
}

/** A list of texts, each of which may be empty. */
export function texts(name: string, value: unknown): readonly string[] {
  if (!Array.isArray(value))
    throw new OptionError(`Expected \`${name}\` to be an array, got ${show(value)}.`);
  for (const [index, one] of value.entries()) {
    if (typeof one !== 'string')
      throw new OptionError(`Expected \`${name}[${index}]\` to be a text, got ${show(one)}.`);
  }

  return value;
}

export function oneOf<T extends string>(name: string, value: unknown, allowed: readonly T[]): T {
  if (typeof value === 'string' && (allowed as readonly string[]).includes(value)) return value as T;
  const near = typeof value === 'string' ? nearest(value, allowed) : undefined;
  const hint = near === undefined ? '' : ` Did you mean '${near}'?`;
  throw new OptionError(
    `Expected \`${name}\` to be one of ${allowed.join(', ')}, got ${show(value)}.${hint}`,
  );
}

/** `signal` must be an AbortSignal or absent; an already aborted one throws its reason. */
export function signal(value: unknown): AbortSignal | undefined {
  if (value === undefined) return undefined;
  if (!(value instanceof AbortSignal))
    throw new OptionError(`Expected \`signal\` to be an AbortSignal, got ${show(value)}.`);
  value.throwIfAborted();
  return value;
}

/** A row-major float32 matrix whose data length is rows * columns; `columns` >= 1. Values are not read here. */
export function matrix(name: string, value: unknown, want: { rows?: number; columns?: number } = {}): Matrix {
  const { data, shape } = (value ?? {}) as Partial<Matrix>;
  if (!(data instanceof Float32Array) || !Array.isArray(shape) || shape.length !== 2) {
    throw new OptionError(
      `Expected \`${name}\` to be a matrix { data: Float32Array, shape: [rows, columns] }, got ${show(value)}.`,
    );
  }

  const [rows, columns] = shape;
  if (!Number.isInteger(rows) || rows < 0 || !Number.isInteger(columns) || columns < 1) {
    throw shapeError(`Expected \`${name}.shape\` to be [rows >= 0, columns >= 1], got ${show(shape)}.`);
  }

  if (data.length !== rows * columns) {
    throw shapeError(
      `Expected \`${name}.data\` to hold ${rows} x ${columns} = ${rows * columns} values, got ${data.length}.`,
    );
  }

  if (want.rows !== undefined && rows !== want.rows) {
    throw shapeError(`Expected \`${name}\` to have ${want.rows} rows, got ${rows}.`);
  }

  if (want.columns !== undefined && columns !== want.columns) {
    throw shapeError(`Expected \`${name}\` to have ${want.columns} columns, got ${columns}.`);
  }

  return { data, shape: [rows, columns] };
}

/** A Float32Array, of a given length if one is wanted. */
export function floats(name: string, value: unknown, length?: number): Float32Array {
  if (!(value instanceof Float32Array))
    throw new OptionError(`Expected \`${name}\` to be a Float32Array, got ${show(value)}.`);
  if (length !== undefined && value.length !== length) {
    throw shapeError(`Expected \`${name}\` to hold ${length} values, got ${value.length}.`);
  }

  return value;
}

export function shapeError(message: string): CotsError {
  return new CotsError('ERR_COTS_SHAPE', message);
}

/** Levenshtein's distance. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (previous[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(replaced, (previous[j] as number) + 1, (current[j - 1] as number) + 1));
    }

    previous = current;
  }

  return previous[b.length] as number;
}
