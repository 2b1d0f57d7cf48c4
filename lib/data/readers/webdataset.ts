/** WebDataset shards (ECOSYSTEM 3.2) as entries, with what img2dataset puts beside them left alone. */
import path from 'node:path';
import { baseNameOf, isRemote, nameOf } from '../../remote/location.js';
import type { ManifestEntry } from '../manifest.js';
import { memberLocation } from '../media.js';
import { noCaptions, type SampleFields } from '../shards/sample-fields.js';
import { shardIndex } from '../shards/shard-index.js';

const splits = ['train', 'val', 'test'];

export interface ReadShardsOptions {
  readonly fields?: SampleFields;
  /** A first shard without any caption is refused at once, not after all shards are read. */
  readonly requireCaptions?: boolean;
  /** Told of a shard that is cut. */
  readonly warn?: (message: string) => void;
}

/**
 * One entry a sample, ids `SHARD/KEY` (with the folder before it where two shards have one name); the split is the name of the
 * folder where that is train, val or test, else `train`. Throws `ERR_COTS_DATA`, `ERR_COTS_FILE`.
 */
export async function readShards(
  shards: readonly string[],
  { fields = {}, requireCaptions = false, warn = () => {} }: ReadShardsOptions = {},
): Promise<ManifestEntry[]> {
  const entries: ManifestEntry[] = [];
  const files = shards.map((shard) => (isRemote(shard) ? shard : path.resolve(shard)));
  const names = distinctNames(files);
  for (const [position, file] of files.entries()) {
    const { samples, endings, cut } = await shardIndex(file, fields);
    if (cut !== null)
      warn(`${nameOf(file)} ends inside ${cut}; the ${samples.length} samples before are read`);
    if (requireCaptions && samples.every(({ captions }) => captions.length === 0))
      throw noCaptions(file, endings, fields);
    const folder = partsOf(file).at(-2) ?? '';
    for (const { key, media, kind, captions } of samples) {
      entries.push({
        id: `${names[position]}/${key}`,
        [kind]: memberLocation(file, media.name),
        captions,
        split: splits.includes(folder) ? folder : 'train',
        source: folder,
      });
    }
  }

  return entries;
}

/** The last parts of paths, as many as tell them apart. */
function distinctNames(files: readonly string[]): string[] {
  const most = Math.max(0, ...files.map((file) => partsOf(file).length));
  for (let count = 1; count <= most; count++) {
    const names = files.map((file) => partsOf(file).slice(-count).join('/'));
    if (new Set(names).size === files.length || count === most) return names;
  }

  return [];
}

function partsOf(file: string): string[] {
  const name = baseNameOf(file);
  const folder = isRemote(file) ? new URL('.', file).pathname : path.dirname(file);
  return [...folder.split('/').filter((part) => part !== ''), path.parse(name).name];
}
