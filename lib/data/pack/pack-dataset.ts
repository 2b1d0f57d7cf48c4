/**
 * A data set as WebDataset shards in img2dataset's layout, which other tools read too: `00000.tar` with `KEY.jpg`, `KEY.txt` (a caption
 * a line) and `KEY.json` an item, `00000.parquet` and `00000_stats.json` beside it, and `pack.json` with what is in each. A shard
 * appears whole; a run that was stopped goes on with the next.
 */
import { createHash } from 'node:crypto';
import path from 'node:path';
import { DataError } from '../../errors.js';
import { exists, hashFile, readJson } from '../../read-file.js';
import { makeDirectory, refuseForeign, removeUnfinished, writeFileAtomic } from '../../write-file.js';
import type { ManifestEntry } from '../manifest.js';
import { type PackedShard, writeShard } from './shard-files.js';

export type { PackedShard } from './shard-files.js';

export interface PackOptions {
  readonly out: string;
  /** Items of a shard. */
  readonly itemsPerShard: number;
  /** Shorter side in pixels that larger images are brought to, as JPEG of quality 95; null: the files as they are. */
  readonly side: number | null;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number) => void) | undefined;
}

interface PackIndex {
  readonly format: 'cots-pack';
  readonly version: 2;
  /** Of ids, captions, locations and options: a run goes on with the same alone. */
  readonly inputHash: string;
  readonly shards: readonly PackedShard[];
}

export interface PackSummary {
  readonly shards: readonly PackedShard[];
  /** Shards that an earlier run had written. */
  readonly skippedShards: number;
}

const indexName = 'pack.json';

/** Throws `ERR_COTS_DATA` for a folder of other things or of another input, `ERR_COTS_FILE`, and `signal.reason`. */
export async function packDataset(
  entries: readonly ManifestEntry[],
  options: PackOptions,
): Promise<PackSummary> {
  const { out, itemsPerShard, side, signal, onProgress } = options;
  const inputHash = hashOf(entries, options);
  const before = await earlierShards(out, inputHash);
  await makeDirectory(out);
  await removeUnfinished(out);
  // Marks the folder as ours before its first shard: a run that is killed then goes on too.
  if (before.length === 0) await writeIndex(out, { format: 'cots-pack', version: 2, inputHash, shards: [] });
  const count = Math.ceil(entries.length / itemsPerShard);
  const shardDigits = Math.max(5, String(count - 1).length);
  const rowDigits = Math.max(4, String(itemsPerShard - 1).length);
  const shards: PackedShard[] = [];
  let skippedShards = 0;
  for (let index = 0; index < count; index++) {
    signal?.throwIfAborted();
    const name = String(index).padStart(shardDigits, '0');
    const part = entries.slice(index * itemsPerShard, (index + 1) * itemsPerShard);
    const known = before.find((shard) => shard.file === `${name}.tar`);
    if (known !== undefined && (await isWhole(out, name, known))) {
      shards.push(known);
      skippedShards++;
    } else {
      shards.push(await writeShard({ out, name, rowDigits, side, signal }, part));
      // Before the end of the run, what an earlier one wrote behind this shard still counts.
      const behind = before.filter(({ file }) => file > `${name}.tar`);
      await writeIndex(out, { format: 'cots-pack', version: 2, inputHash, shards: [...shards, ...behind] });
    }

    onProgress?.(Math.min((index + 1) * itemsPerShard, entries.length));
  }

  return { shards, skippedShards };
}

function hashOf(entries: readonly ManifestEntry[], { itemsPerShard, side }: PackOptions): string {
  const hash = createHash('sha256').update(JSON.stringify([itemsPerShard, side]));
  for (const { id, image, video, captions, split } of entries)
    hash.update(`${JSON.stringify([id, image ?? video, captions, split])}\n`);
  return hash.digest('hex');
}

async function earlierShards(out: string, inputHash: string): Promise<readonly PackedShard[]> {
  await refuseForeign(out, 'packed shards', indexName);
  const file = path.join(out, indexName);
  if (!(await exists(file))) return [];
  const index = (await readJson(file, 'ERR_COTS_DATA')) as PackIndex;
  if (index?.format === 'cots-pack' && index.version === 2 && index.inputHash === inputHash)
    return index.shards;
  throw new DataError(
    `Expected ${out} to be empty or to hold shards of the same input and options, got those of others. Use another --out.`,
  );
}

/** A shard of an earlier run is taken at its checksums' word. */
async function isWhole(out: string, name: string, { sha256, parquetSha256 }: PackedShard): Promise<boolean> {
  const wanted = { [`${name}.tar`]: sha256, [`${name}.parquet`]: parquetSha256 };
  for (const [file, hash] of Object.entries(wanted)) {
    const place = path.join(out, file);
    if (!(await exists(place)) || (await hashFile(place)) !== hash) return false;
  }

  return exists(path.join(out, `${name}_stats.json`));
}

async function writeIndex(out: string, index: PackIndex): Promise<void> {
  await writeFileAtomic(path.join(out, indexName), `${JSON.stringify(index, null, 1)}\n`);
}
