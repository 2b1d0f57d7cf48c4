/** `cots data pack`: a data set as WebDataset shards. */
import type { Command } from 'commander';
import { openDataset } from '../data/open.js';
import { packDataset } from '../data/pack/pack-dataset.js';
import { type CommonOptions, datasetForms, newCommand, wholeNumber } from './command.js';
import { interruptSignal } from './interrupt.js';
import { counted, note, printResult } from './output.js';
import { startProgress } from './progress.js';
import { addSourceOptions, joined, type SourceOptions, sourceOf } from './source-options.js';

interface Options extends CommonOptions, SourceOptions {
  readonly out: string;
  readonly shardItems: number;
  readonly size?: number;
}

export function dataPackCommand(): Command {
  const command = newCommand(
    'pack',
    "write a data set as WebDataset shards in img2dataset's layout; a run that was stopped goes on",
    'cots data pack data/manifest.jsonl --out data/shards --size 384',
  )
    .argument('<data...>', datasetForms)
    .requiredOption('--out <dir>', 'folder to write');
  return addSourceOptions(command)
    .option('--shard-items <number>', 'items of a shard', wholeNumber(1, 1_000_000), 10_000)
    .option(
      '--size <pixels>',
      'shorter side that larger images are brought to (default: files as they are); videos stay as they are',
      wholeNumber(8, 10_000),
    )
    .action(pack);
}

async function pack(data: string[], options: Options): Promise<void> {
  const { entries, warnings } = await openDataset(joined(data), {
    ...sourceOf(options),
    requireCaptions: false,
  });
  for (const warning of warnings) note(warning);
  const interrupt = interruptSignal(() =>
    note('interrupted: whole shards stay; run the same command to go on'),
  );
  const progress = startProgress({ title: 'packing', total: entries.length, unit: 'items' });
  const { shards, skippedShards } = await packDataset(entries, {
    out: options.out,
    itemsPerShard: options.shardItems,
    side: options.size ?? null,
    signal: interrupt.signal,
    onProgress: (done) => progress.update(done),
  }).finally(() => {
    progress.stop();
    interrupt.release();
  });
  const errors = shards.flatMap((shard) => shard.errors);
  const items = shards.reduce((sum, shard) => sum + shard.items, 0);
  for (const { id, message } of errors) note(`left out: ${id}: ${message}`);
  printResult(options, { out: options.out, items, skippedShards, errors, shards, warnings }, [
    `${options.out}: ${items} of ${counted(entries.length, 'item')} in ${counted(shards.length, 'shard')}, ${skippedShards} of them from an earlier run`,
  ]);
}
