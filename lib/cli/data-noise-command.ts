/** `cots data noise`: what the filter of a run dropped, as a sheet of pictures and as a manifest without them. */
import path from 'node:path';
import type { Command } from 'commander';
import { writeManifest } from '../data/manifest.js';
import { writeContactSheet } from '../inspect/contact-sheet.js';
import { findNoise, type Noise } from '../inspect/noise.js';
import { makeDirectory, writeFileAtomic } from '../write-file.js';
import { type CommonOptions, collectOverride, newCommand, wholeNumber } from './command.js';
import { counted, note, printResult } from './output.js';

interface Options extends CommonOptions {
  readonly out?: string;
  readonly atLeast: number;
  readonly count: number;
}

export function dataNoiseCommand(): Command {
  return newCommand(
    'noise',
    'what the momentum filter of a run dropped: a contact sheet, and a manifest of the other pairs',
    'cots data noise runs/demo/run --out runs/demo/noise',
  )
    .argument('<run>', 'folder of a run')
    .argument(
      '[overrides...]',
      'key.path=value over its config: data.train=PATH where the data has moved',
      collectOverride,
    )
    .option('--out <dir>', 'folder for noise.png, noise.jsonl and clean.jsonl (default: RUN/noise)')
    .option('--at-least <number>', 'drops from which on a pair counts as noise', wholeNumber(1), 1)
    .option('--count <number>', 'pictures on the sheet', wholeNumber(1, 400), 48)
    .action(noise);
}

async function noise(run: string, overrides: string[] | undefined, options: Options): Promise<void> {
  const found = await findNoise(run, { atLeast: options.atLeast, overrides: overrides ?? [] });
  const out = options.out ?? path.join(run, 'noise');
  const sheet = path.join(out, 'noise.png');
  await makeDirectory(out);
  const { dropped, kept, entries, logged, unknown, ambiguous, mismatched } = found;
  const shown = dropped.slice(0, options.count);
  const title = `${run}: ${dropped.length} of ${entries} pairs dropped ${options.atLeast === 1 ? 'at least once' : `${options.atLeast} times or more`}, ${shown.length} shown`;
  await writeContactSheet(sheet, title, shown.map(tileOf));
  await writeManifest(path.join(out, 'clean.jsonl'), kept);
  const lines = dropped.map(({ entry: _, ...pair }) => JSON.stringify(pair));
  await writeFileAtomic(path.join(out, 'noise.jsonl'), lines.map((line) => `${line}\n`).join(''));
  if (unknown.length > 0)
    note(`${unknown.length} of ${logged} dropped ids are not in the data any more, such as ${unknown[0]}`);
  if (ambiguous.length > 0)
    note(`${ambiguous.length} dropped ids are of several entries and kept, such as ${ambiguous[0]}`);
  const truth = mismatched === null ? '' : `, ${mismatched} of them marked as mismatched`;
  printResult(
    options,
    { run, out, entries, dropped: dropped.length, kept: kept.length, logged, unknown, ambiguous, mismatched },
    [
      `${sheet}: ${dropped.length} of ${counted(entries, 'pair')} dropped${truth}; clean.jsonl has the other ${kept.length}`,
    ],
  );
}

function tileOf({ entry, score, threshold, drops }: Noise['dropped'][number]) {
  return {
    image: (entry.image ?? entry.video) as string,
    caption: entry.captions.join(' / '),
    note: `${score.toFixed(3)} < ${threshold.toFixed(3)}${drops > 1 ? `, ${drops} times` : ''}`,
  };
}
