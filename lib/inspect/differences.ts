/** How far ours is from a reference. */
import { DataError } from '../errors.js';
import type { ReferenceArray } from './reference-arrays.js';

/** One array against its reference. */
export interface Comparison {
  readonly name: string;
  readonly rows: number;
  /** Of the absolute differences of values. */
  readonly difference: { readonly max: number; readonly mean: number };
  /** Of rows; null where rows are no vectors. */
  readonly cosine: { readonly min: number; readonly mean: number } | null;
  readonly tolerance: number;
  /** The largest difference is within the tolerance. */
  readonly ok: boolean;
}

/** Unit rows [n, D] against rows of any length, which are made unit rows first. */
export function compareRows(
  name: string,
  ours: Float32Array,
  [rows, columns]: readonly [number, number],
  theirs: ReferenceArray,
  tolerance: number,
): Comparison {
  checkShape(name, [rows, columns], theirs.shape);
  const unit = theirs.data.slice();
  const cosines: number[] = [];
  for (let row = 0; row < rows; row++) {
    const [a, b] = [ours, unit].map((data) => data.subarray(row * columns, (row + 1) * columns)) as [
      Float32Array,
      Float64Array,
    ];
    const norm = Math.hypot(...b) || 1;
    for (let column = 0; column < columns; column++) b[column] = (b[column] as number) / norm;
    cosines.push(
      a.reduce((sum, value, column) => sum + value * (b[column] as number), 0) / (Math.hypot(...a) || 1),
    );
  }

  const cosine = rows === 0 ? null : { min: Math.min(...cosines), mean: mean(cosines) };
  return { ...differences(name, rows, ours, unit, tolerance), cosine };
}

/** Values of any shape. */
export function compareValues(
  name: string,
  ours: { readonly shape: number[]; readonly data: Float32Array },
  theirs: ReferenceArray,
  tolerance: number,
): Comparison {
  checkShape(name, ours.shape, theirs.shape);
  return differences(name, ours.shape[0] as number, ours.data, theirs.data, tolerance);
}

/** Ids of texts, rows of any length against padded rows: what follows a text is not compared. */
export function compareExactly(
  name: string,
  ours: readonly Int32Array[],
  theirs: ReferenceArray,
): Comparison {
  const [rows = 0, columns = 0] = theirs.shape;
  if (theirs.shape.length !== 2 || rows !== ours.length)
    checkShape(name, [ours.length, columns], theirs.shape);
  const pairs = ours.map((ids, row) =>
    Float64Array.from(ids, (_, column) =>
      column < columns ? (theirs.data[row * columns + column] as number) : Number.NaN,
    ),
  );
  const flat = { ours: ours.flatMap((ids) => [...ids]), theirs: pairs.flatMap((ids) => [...ids]) };
  return differences(name, rows, Float64Array.from(flat.ours), Float64Array.from(flat.theirs), 0);
}

function differences(
  name: string,
  rows: number,
  ours: Float32Array | Float64Array,
  theirs: Float64Array,
  tolerance: number,
): Comparison {
  let [max, sum] = [0, 0];
  for (const [index, value] of theirs.entries()) {
    const difference = Math.abs((ours[index] as number) - value);
    // What is no number is as far away as can be.
    max = Number.isNaN(difference) ? Infinity : Math.max(max, difference);
    sum += difference;
  }

  return {
    name,
    rows,
    difference: { max, mean: theirs.length === 0 ? 0 : sum / theirs.length },
    cosine: null,
    tolerance,
    ok: max <= tolerance,
  };
}

function checkShape(name: string, ours: readonly number[], theirs: readonly number[]): void {
  if (ours.length === theirs.length && ours.every((side, index) => side === theirs[index])) return;
  throw new DataError(
    `Expected ${name} to have the shape [${ours.join(', ')}] of what this model makes of the inputs, got [${theirs.join(', ')}]. Make the arrays again from these inputs.`,
  );
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
