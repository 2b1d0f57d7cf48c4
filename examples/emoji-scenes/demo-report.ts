/** What the demo measured: its report for machines, and the table it ends with. */
import type { TrainConfig } from '../../lib/config/schema.js';
import type { RetrievalResult } from '../../lib/evaluate/retrieval.js';
import type { FilterReport } from './filter-truth.js';

const stages = ['scenes', 'tokenizer', 'train', 'evaluate', 'embed', 'search'] as const;
export type Stage = (typeof stages)[number];

/** report.json. */
export interface DemoReport {
  readonly test: RetrievalResult;
  readonly unseen: RetrievalResult;
  readonly filter: FilterReport;
  /** Wall time of each stage and of all. `train` is the pre-training alone. */
  readonly seconds: Readonly<Record<Stage | 'total', number>>;
  readonly config: TrainConfig;
  readonly versions: Readonly<Record<string, string>>;
}

export interface StageClock {
  /** Runs a stage and notes how long it took. */
  stage<T>(name: Stage, work: () => Promise<T>): Promise<T>;
  seconds(): Record<Stage | 'total', number>;
}

export function stageClock(): StageClock {
  const start = performance.now();
  const measured = new Map<Stage, number>();
  return {
    async stage(name, work) {
      const begin = performance.now();
      const result = await work();
      measured.set(name, (performance.now() - begin) / 1000);
      return result;
    },
    seconds() {
      const each = Object.fromEntries(stages.map((name) => [name, measured.get(name) ?? 0])) as Record<
        Stage,
        number
      >;
      return { ...each, total: (performance.now() - start) / 1000 };
    },
  };
}

/** Prints the closing table; `out` is the demo's folder as the reader would type it. */
export function printReport({ test, unseen, filter, seconds }: DemoReport, out: string): void {
  const rows = [
    ['', 'text to image', '', '', 'image to text', '', ''],
    ['', 'R@1', 'R@5', 'R@10', 'R@1', 'R@5', 'R@10'],
    ['test', ...recalls(test.textToImage), ...recalls(test.imageToText)],
    ['unseen artist', ...recalls(unseen.textToImage), ...recalls(unseen.imageToText)],
    ['chance', ...recalls(test.chance.textToImage), ...recalls(test.chance.imageToText)],
  ];
  console.log(`\n1,000 images x 5 captions, recall in percent`);
  for (const [name = '', ...cells] of rows)
    console.log(name.padEnd(14) + cells.map((cell) => cell.padStart(cell.includes(' ') ? 15 : 7)).join(' '));
  const { mismatched, dropped, precision, recall, auc } = filter;
  console.log(
    `\nfilter, last epoch: dropped ${dropped} pairs, ${percent(precision)} of them mismatched; found ${percent(recall)} of the ${mismatched} mismatched; AUC of the score ${auc?.toFixed(3) ?? 'unknown'}`,
  );
  const { total, ...each } = seconds;
  console.log(
    `seconds: ${Object.entries(each)
      .map(([name, value]) => `${name} ${value.toFixed(0)}`)
      .join(', ')}, total ${total.toFixed(0)}`,
  );
  console.log(
    `\n${out}/search.png shows three queries with their top 5 images; ${out}/report.json has every figure. Search on:`,
  );
  console.log(`  npx cots search ${out}/index "a red apple on a blue background" -k 5`);
}

function recalls({ r1, r5, r10 }: { r1: number; r5: number; r10: number }): string[] {
  return [r1, r5, r10].map((value) => value.toFixed(1));
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
