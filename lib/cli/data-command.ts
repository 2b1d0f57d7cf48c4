/** `cots data list|pack`: what a data set holds, and the same as shards. */
import type { Command } from 'commander';
import type { ManifestEntry } from '../data/manifest.js';
import { openDataset } from '../data/open.js';
import { packDataset } from '../data/pack.js';
import {
  addMissing,
  type CommonOptions,
  datasetForms,
  newCommand,
  newGroup,
  wholeNumber,
} from './command.js';
import { interruptSignal } from './interrupt.js';
import { counted, note, printResult, table } from './output.js';
import { startProgress } from './progress.js';

interface Options extends CommonOptions {
  readonly split?: string;
}

interface Group {
  readonly split: string;
  readonly source: string;
  entries: number;
  images: number;
  videos: number;
  captions: number;
  fewestCaptions: number;
  mostCaptions: number;
  mismatched: number;
}

export function dataCommand(): Command {
  const group = newGroup('data', 'look at data sets', 'cots data list data/manifest.jsonl');
  group.addCommand(
    newCommand(
      'list',
      'count the entries of a data set by split and source',
      'cots data list data/manifest.jsonl',
    )
      .argument('<data>', datasetForms)
      .option('--split <name>', 'only this split')
      .action(async (data: string, options: Options) => {
        const { entries, kind } = await openDataset(data, {
          split: options.split ?? null,
          requireCaptions: false,
        });
        const groups = count(entries);
        printResult(options, { path: data, kind, entries: entries.length, groups }, [
          `${data}: ${kind}, ${entries.length} entries`,
          ...table(
            ['split', 'source', 'entries', 'images', 'videos', 'captions', 'an entry', 'mismatched'],
            groups.map(cells),
          ),
        ]);
      }),
  );
  group.addCommand(packCommand());
  addMissing(group, ['check']);
  return group;
}

interface PackCommandOptions extends CommonOptions {
  readonly out: string;
  readonly split?: string;
  readonly shardItems: number;
  readonly size?: number;
}

function packCommand(): Command {
  return newCommand(
    'pack',
    'write a data set as WebDataset shards; a run that was stopped goes on',
    'cots data pack data/manifest.jsonl --out data/shards --size 384',
  )
    .argument('<data>', datasetForms)
    .requiredOption('--out <dir>', 'folder to write')
    .option('--split <name>', 'only this split')
    .option('--shard-items <number>', 'items of a shard', wholeNumber(1, 1_000_000), 10_000)
    .option(
      '--size <pixels>',
      'shorter side that larger images are brought to (default: files as they are)',
      wholeNumber(8, 10_000),
    )
    .action(async (data: string, options: PackCommandOptions) => {
      const { entries } = await openDataset(data, { split: options.split ?? null, requireCaptions: false });
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
      printResult(options, { out: options.out, items, skippedShards, errors, shards }, [
        `${options.out}: ${items} of ${counted(entries.length, 'item')} in ${counted(shards.length, 'shard')}, ${skippedShards} of them from an earlier run`,
      ]);
    });
}

function count(entries: readonly ManifestEntry[]): Group[] {
  const groups = new Map<string, Group>();
  for (const { split, source, image, video, captions, mismatched } of entries) {
    const key = JSON.stringify([split, source]);
    const fresh: Group = {
      split,
      source,
      entries: 0,
      images: 0,
      videos: 0,
      captions: 0,
      fewestCaptions: Infinity,
      mostCaptions: 0,
      mismatched: 0,
    };
    const group = groups.get(key) ?? fresh;
    groups.set(key, group);
    group.entries++;
    group.images += image === undefined ? 0 : 1;
    group.videos += video === undefined ? 0 : 1;
    group.captions += captions.length;
    group.fewestCaptions = Math.min(group.fewestCaptions, captions.length);
    group.mostCaptions = Math.max(group.mostCaptions, captions.length);
    group.mismatched += mismatched === true ? 1 : 0;
  }

  return [...groups.values()].sort((a, b) => (a.split + a.source < b.split + b.source ? -1 : 1));
}

function cells(group: Group): string[] {
  const { split, source, entries, images, videos, captions, fewestCaptions, mostCaptions, mismatched } =
    group;
  return [
    split,
    source === '' ? '-' : source,
    ...[entries, images, videos, captions].map(String),
    `${fewestCaptions}-${mostCaptions}`,
    String(mismatched),
  ];
}
