/**
 * `errors.jsonl` of a folder of embeddings: what could not be embedded, a line each, `{ modality, id, code, message }`. Of several processes
 * that fill one folder each writes its own, `errors-MODALITY-RANK-of-WORLD.jsonl`, until a run over all of the input takes their place.
 */
import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { kindOf, readText } from '../read-file.js';
import { writeFileAtomic } from '../write-file.js';
import type { Share } from './embed-share.js';
import type { Modality } from './partitions.js';

export interface EmbedError {
  readonly id: string;
  readonly code: string;
  readonly message: string;
}

const wholeName = 'errors.jsonl';

/** Replaces what the folder lists of `modality`; a file without a line is removed. */
export async function writeErrors(
  directory: string,
  modality: Modality,
  { rank, world }: Share,
  errors: readonly EmbedError[],
): Promise<void> {
  const own = errors.map((error) => JSON.stringify({ modality, ...error }));
  if (world > 1) {
    await writeLines(path.join(directory, `errors-${modality}-${rank}-of-${world}.jsonl`), own);
    return;
  }

  const file = path.join(directory, wholeName);
  await writeLines(file, [...(await otherLines(file, modality)), ...own]);
  const ofProcesses = new RegExp(`^errors-${modality}-\\d+-of-\\d+\\.jsonl$`);
  for (const name of await readdir(directory))
    if (ofProcesses.test(name)) await rm(path.join(directory, name), { force: true });
}

/** The lines about another modality. */
async function otherLines(file: string, modality: Modality): Promise<string[]> {
  if ((await kindOf(file)) !== 'file') return [];
  const start = `{"modality":${JSON.stringify(modality)},`;
  return (await readText(file)).split('\n').filter((line) => line !== '' && !line.startsWith(start));
}

async function writeLines(file: string, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return rm(file, { force: true });
  await writeFileAtomic(file, `${lines.join('\n')}\n`);
}
