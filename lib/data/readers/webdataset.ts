/** WebDataset shards (ECOSYSTEM 3.2): a tar file, a brace range (`{00000..00123}.tar`), several joined by `::`, or a folder of them. */
import path from 'node:path';
import { DataError } from '../../errors.js';
import type { ManifestEntry } from '../manifest.js';
import { memberLocation } from '../media.js';
import { shardSamples } from '../shards/shard-index.js';

const splits = ['train', 'val', 'test'];

/** Whether a data set is given as shards. */
export function isShardRange(given: string): boolean {
  return given.includes('::') || /\{\d+\.\.\d+\}.*\.tar$/.test(given);
}

/** The files of a range, in order. Throws `ERR_COTS_DATA` for a range that runs backwards or is too long. */
export function expandShards(given: string): string[] {
  return given.split('::').flatMap(expandBraces);
}

const mostShards = 1_000_000;

function expandBraces(given: string): string[] {
  const [whole, from = '', to = ''] = /\{(\d+)\.\.(\d+)\}/.exec(given) ?? [];
  if (whole === undefined) return [given];
  const [first, last] = [Number(from), Number(to)];
  if (last < first || last - first >= mostShards)
    throw new DataError(
      `Expected a range from a smaller to a larger number in ${given}, got ${whole}. Write it as {000000..000123}.`,
    );
  return Array.from({ length: last - first + 1 }, (_, index) =>
    given.replace(whole, String(first + index).padStart(from.length, '0')),
  ).flatMap(expandBraces);
}

/** One entry a sample, ids `SHARD/KEY`; the split is the name of the folder where that is train, val or test, else `train`. */
export async function readShards(shards: readonly string[]): Promise<ManifestEntry[]> {
  const entries: ManifestEntry[] = [];
  for (const shard of shards) {
    const file = path.resolve(shard);
    const folder = path.basename(path.dirname(file));
    const stem = path.parse(file).name;
    for (const { key, media, kind, captions } of await shardSamples(file)) {
      entries.push({
        id: `${stem}/${key}`,
        [kind]: memberLocation(file, media.name),
        captions,
        split: splits.includes(folder) ? folder : 'train',
        source: folder,
      });
    }
  }

  return entries;
}
