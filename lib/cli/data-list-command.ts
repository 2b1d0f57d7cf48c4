/** `cots data list`: what a data set holds, by split and source. */
import type { Command } from 'commander';
import type { ManifestEntry } from '../data/manifest.js';
import { openDataset } from '../data/open.js';
import { type CommonOptions, datasetForms, newCommand } from './command.js';
import { note, printResult, table } from './output.js';
import { addSourceOptions, joined, type SourceOptions, sourceOf } from './source-options.js';

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

export function dataListCommand(): Command {
  return addSourceOptions(
    newCommand(
      'list',
      'count the entries of a data set by split and source',
      'cots data list data/manifest.jsonl',
    ).argument('<data...>', datasetForms),
  ).action(async (data: string[], options: CommonOptions & SourceOptions) => {
    const path = joined(data);
    const { entries, kind, files, warnings } = await openDataset(path, {
      ...sourceOf(options),
      requireCaptions: false,
    });
    for (const warning of warnings) note(warning);
    const groups = count(entries);
    printResult(options, { path, kind, files, entries: entries.length, groups, warnings }, [
      `${path}: ${kind}, ${files === 1 ? '' : `${files} files, `}${entries.length} entries`,
      ...table(
        ['split', 'source', 'entries', 'images', 'videos', 'captions', 'an entry', 'mismatched'],
        groups.map(cells),
      ),
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
