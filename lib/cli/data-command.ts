/** `cots data list`: what a data set holds. */
import type { Command } from 'commander';
import type { ManifestEntry } from '../data/manifest.js';
import { openDataset } from '../data/open.js';
import { addMissing, type CommonOptions, datasetForms, newCommand, newGroup } from './command.js';
import { printResult, table } from './output.js';

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
  addMissing(group, ['pack', 'check']);
  return group;
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
