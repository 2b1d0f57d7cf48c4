/** What the readers of public formats share: messages about an item, the split in a file's name, the folder of the media. */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { show } from '../../checks.js';
import { DataError } from '../../errors.js';

/** An item of an annotation file that lacks a field. `what` is such as `row 3`. */
export function wrongField(file: string, what: string, rule: string, got: unknown): DataError {
  return new DataError(
    `Expected ${what} of ${file} to have ${rule}, got ${show(got)}. Restore the file from its source.`,
  );
}

/** `train`, `val` or `test` where the file's name says so (`coco_karpathy_val.json`), else `train`. */
export function splitOfName(file: string): string {
  const found = /(?:^|[^a-z])(train|val|test)(?:idation)?(?=[^a-z]|$)/.exec(
    path.basename(file).toLowerCase(),
  );
  return found?.[1] ?? 'train';
}

/** `given`, or the first folder that holds `sample`, or the first of all when none does. */
export async function mediaFolder(
  given: string | null,
  folders: readonly string[],
  sample: string,
): Promise<string> {
  if (given !== null) return given;
  for (const folder of folders) {
    const found = await stat(path.resolve(folder, sample)).catch(() => undefined);
    if (found?.isFile()) return folder;
  }

  return folders[0] as string;
}

/** Groups what belongs together, in the order of first appearance. */
export function groupBy<T>(items: Iterable<T>, key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const name = key(item);
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [item]);
    else group.push(item);
  }

  return groups;
}
