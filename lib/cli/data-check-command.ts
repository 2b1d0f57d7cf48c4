/** `cots data check`: what is wrong with a data set, as JSON and as a page. */
import path from 'node:path';
import type { Command } from 'commander';
import { configSchema } from '../config/schema.js';
import { type CheckReport, checkDataset } from '../data/check/check-dataset.js';
import { reportPage } from '../data/check/report-page.js';
import { openDataset } from '../data/open.js';
import { captionRules, textTokenizerFor } from '../data/text/captions.js';
import { makeDirectory, writeFileAtomic } from '../write-file.js';
import { type CommonOptions, datasetForms, newCommand, wholeNumber } from './command.js';
import { interruptSignal } from './interrupt.js';
import { note, printResult, table } from './output.js';
import { startProgress } from './progress.js';
import { addSourceOptions, joined, type SourceOptions, sourceOf } from './source-options.js';

interface Options extends CommonOptions, SourceOptions {
  readonly out?: string;
  readonly vocabulary?: string;
  readonly maxLength?: number;
}

export function dataCheckCommand(): Command {
  const command = newCommand(
    'check',
    'look at every entry: missing and unreadable files, duplicate images, leaks between splits, captions that are cut',
    'cots data check data/manifest.jsonl --out runs/check',
  ).argument('<data...>', datasetForms);
  return addSourceOptions(command)
    .option('--out <dir>', 'folder for check.json and check.html (default: none is written)')
    .option(
      '--vocabulary <file>',
      'tokenizer.json or vocab.txt (default: made from the captions, as for a run)',
    )
    .option('--max-length <tokens>', 'tokens of a caption (default: 40)', wholeNumber(3, 65_536))
    .action(check);
}

async function check(data: string[], options: Options): Promise<void> {
  const given = joined(data);
  const start = performance.now();
  const { entries, kind, warnings } = await openDataset(given, {
    ...sourceOf(options),
    requireCaptions: false,
    allowDuplicateIds: true,
  });
  for (const warning of warnings) note(warning);
  const config = configSchema.parse({
    data: { textMaxLen: options.maxLength, vocabulary: options.vocabulary },
  });
  const tokenizer = await textTokenizerFor(
    config,
    entries.flatMap(({ captions }) => captions),
  );
  const interrupt = interruptSignal(() => note('interrupted: nothing is written'));
  const progress = startProgress({ title: 'checking', total: entries.length, unit: 'entries' });
  const report = await checkDataset(entries, {
    tokenizer,
    rules: captionRules(config),
    signal: interrupt.signal,
    onProgress: (done) => progress.update(done),
  }).finally(() => {
    progress.stop();
    interrupt.release();
  });
  const seconds = (performance.now() - start) / 1000;
  const document = { format: 'cots-check', version: 1, data: given, kind, warnings, ...report, seconds };
  if (options.out !== undefined) {
    await makeDirectory(options.out);
    await writeFileAtomic(path.join(options.out, 'check.json'), `${JSON.stringify(document, null, 1)}\n`);
    await writeFileAtomic(path.join(options.out, 'check.html'), await reportPage(given, report));
    note(`${path.join(options.out, 'check.html')} shows what was found`);
  }

  printResult(options, document, lines(given, report));
}

function lines(data: string, { entries, files, ids, duplicates, leaks, captions }: CheckReport): string[] {
  const { missing, unreadable, good, examples } = files;
  const rows: [string, number][] = [
    ['good files', good],
    ['missing files', missing],
    ['unreadable files', unreadable],
    ['duplicate images', duplicates.images],
    ['groups that leak between splits', leaks.groups],
    ['duplicate ids', ids.duplicates],
    ['captions', captions.captions],
    ['entries without a caption', captions.anEntry['0'] ?? 0],
    ['captions without a word', captions.blank],
    ['captions that stand there before', captions.duplicates.captions],
    ['captions with control characters', captions.withControlCharacters],
    [`captions cut at ${captions.tokens.limit} tokens`, captions.tokens.cut],
  ];
  return [
    `${data}: ${entries} entries`,
    ...table(
      ['', ''],
      rows.map(([name, count]) => [name, String(count)]),
    ).slice(1),
    ...examples.slice(0, 5).map(({ id, message }) => `  ${id}: ${message}`),
    ...leaks.examples
      .slice(0, 5)
      .map((group) => `  leak: ${group.map(({ id, split }) => `${id} (${split})`).join(', ')}`),
  ];
}
