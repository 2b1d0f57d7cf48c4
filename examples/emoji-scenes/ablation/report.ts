/** The ablation's one JSON, its one figure (PNG, with the SVG beside it) and its table. */
import path from 'node:path';
import { benchContext } from '../../../lib/bench/machine.js';
import { threadsOf } from '../../../lib/config/load.js';
import type { TrainConfig } from '../../../lib/config/schema.js';
import { kindOf, readJson } from '../../../lib/read-file.js';
import { writeFileAtomic } from '../../../lib/write-file.js';
import { ablationSvg, writePng } from './figure.js';
import { noiseShares } from './plan.js';
import { summarize } from './summary.js';
import type { RunResult } from './train-run.js';

/** What is read back of a report. */
interface Report {
  readonly settings?: { readonly hash?: string };
  readonly runs?: readonly RunResult[];
}

export interface ReportOptions {
  readonly out: string;
  readonly seeds: number;
  readonly scenes: number;
  readonly overrides: readonly string[];
  readonly json?: string;
  readonly figure?: string;
}

function reportFile({ json, out }: ReportOptions): string {
  return json ?? path.join(out, 'ablation.json');
}

/** The runs of an earlier report of the settings with that hash, made in this folder or elsewhere; none where there is no such report. */
export async function reportedRuns(options: ReportOptions, hash: string): Promise<readonly RunResult[]> {
  const file = reportFile(options);
  if ((await kindOf(file)) !== 'file') return [];
  const { settings, runs = [] } = (await readJson(file)) as Report;
  return settings?.hash === hash ? runs : [];
}

/** Writes what the runs done so far say; all have the batch of `config`. */
export async function writeReport(
  results: readonly RunResult[],
  options: ReportOptions,
  config: TrainConfig,
  hash: string,
): Promise<void> {
  const { out, seeds, scenes, overrides, figure } = options;
  const rows = summarize(results);
  const steps = results[0]?.steps ?? 0;
  const { batchSize } = config.train;
  const report = {
    name: 'ablation',
    command: 'node dist/examples/emoji-scenes/ablation/main.js',
    measured: new Date().toISOString(),
    settings: { steps, batchSize, scenes, seeds, noise: noiseShares, overrides, hash },
    rows,
    runs: results,
    ...benchContext(threadsOf(config)),
  };
  await writeFileAtomic(reportFile(options), `${JSON.stringify(report, null, 1)}\n`);
  const caption = `${steps} steps of ${batchSize} pairs, ${scenes.toLocaleString('en-US')} training scenes; a dot is a seed, a bar their mean, the dashed line the instance level alone. ${results.length} runs.`;
  const svg = ablationSvg(rows, caption);
  const png = figure ?? path.join(out, 'ablation.png');
  await writeFileAtomic(`${png.replace(/\.png$/, '')}.svg`, svg);
  await writePng(svg, png);
}

export function printTable(results: readonly RunResult[]): void {
  for (const { title, noise, rsum, gain, textToImageR1 } of summarize(results)) {
    const more =
      gain === null
        ? ''
        : `, ${gain.mean >= 0 ? '+' : ''}${gain.mean.toFixed(1)} (std ${gain.std.toFixed(1)})`;
    console.log(
      `${title.padEnd(24)} ${`${Math.round(100 * noise)} %`.padStart(4)}  RSum ${rsum.mean.toFixed(1).padStart(5)} (std ${rsum.std.toFixed(1)})  text to image R@1 ${textToImageR1.mean.toFixed(1).padStart(4)}${more}`,
    );
  }
}
