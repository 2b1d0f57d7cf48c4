/** What the runs say together: a row a variant and noise, and its difference to the instance level alone. */
import { noiseShares, type Variant, variants } from './plan.js';
import type { RunResult } from './train-run.js';

/** A variant on one share of noise. */
export interface SummaryRow {
  readonly variant: Variant;
  readonly title: string;
  readonly noise: number;
  /** RSum of each seed that is done, on the test split, in the order of the seeds. */
  readonly rsums: readonly number[];
  readonly rsum: Spread;
  readonly unseenRsum: Spread;
  readonly textToImageR1: Spread;
  readonly imageToTextR1: Spread;
  /** RSum less that of `instance` of the same seed; null for `instance` itself, or without a common seed. */
  readonly gain: Spread | null;
  readonly secondsPerRun: number;
}

/** Mean, and the standard deviation of the sample (0 for one). */
export interface Spread {
  readonly mean: number;
  readonly std: number;
}

/** Rows in the order of the variants, the shares of noise within each; those without a run are left out. */
export function summarize(results: readonly RunResult[]): SummaryRow[] {
  return variants.flatMap(({ name, title }) =>
    noiseShares.flatMap((noise) => {
      const own = runsOf(results, name, noise);
      return own.length === 0 ? [] : [rowOf(own, runsOf(results, variants[0].name, noise), title)];
    }),
  );
}

function runsOf(results: readonly RunResult[], variant: Variant, noise: number): RunResult[] {
  return results
    .filter((run) => run.variant === variant && run.noise === noise)
    .sort((a, b) => a.seed - b.seed);
}

function rowOf(own: readonly RunResult[], base: readonly RunResult[], title: string): SummaryRow {
  const { variant, noise } = own[0] as RunResult;
  const gains = own.flatMap((run) => {
    const twin = base.find(({ seed }) => seed === run.seed);
    return twin === undefined ? [] : [run.test.rsum - twin.test.rsum];
  });
  return {
    variant,
    title,
    noise,
    rsums: own.map(({ test }) => test.rsum),
    rsum: spread(own.map(({ test }) => test.rsum)),
    unseenRsum: spread(own.map(({ unseen }) => unseen.rsum)),
    textToImageR1: spread(own.map(({ test }) => test.textToImage.r1)),
    imageToTextR1: spread(own.map(({ test }) => test.imageToText.r1)),
    gain: variant === variants[0].name || gains.length === 0 ? null : spread(gains),
    secondsPerRun: spread(own.map(({ seconds }) => seconds)).mean,
  };
}

function spread(values: readonly number[]): Spread {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, std: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0 };
}
