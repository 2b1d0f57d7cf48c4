/** Clocks of the benchmarks: repeated calls, and the percentiles of their times. */

/** Milliseconds. */
export interface Latency {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** Percentiles by the nearest rank; of one value, that value. */
export function latency(milliseconds: readonly number[]): Latency {
  const sorted = [...milliseconds].sort((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] as number) + (sorted[Math.floor(middle)] as number)) / 2;
}

/** Runs `work` for at least `seconds` and at least `least` times after one warm-up call; milliseconds of each call. */
export async function repeatFor(
  seconds: number,
  least: number,
  work: () => Promise<unknown>,
): Promise<number[]> {
  await work();
  const times: number[] = [];
  const begin = performance.now();
  while (times.length < least || performance.now() - begin < seconds * 1000) {
    const start = performance.now();
    await work();
    times.push(performance.now() - start);
  }

  return times;
}
