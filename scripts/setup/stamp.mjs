// Stamps: a file written only after a step succeeded, holding the hash of all that the step depends on.
// A step whose stamp still matches, and whose outputs are there, has nothing to do.

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root, writeAtomically } from './project.mjs';

/** Files below `folder` (relative to the package) whose name passes `keep`, sorted, relative to the package. */
export function listFiles(folder, keep = () => true) {
  const start = join(root, folder);
  if (!existsSync(start)) return [];
  return readdirSync(start, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && keep(entry.name))
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}

/** SHA-256 over the names and contents of files (relative to the package; a missing one counts as empty) and `extra`. */
export function hashOf(files, extra = {}) {
  const hash = createHash('sha256').update(JSON.stringify(extra));
  for (const file of files) {
    const path = join(root, file);
    hash.update(`\0${file}\0`).update(existsSync(path) ? readFileSync(path) : '');
  }
  return hash.digest('hex');
}

export function isCurrent(stamp, hash, outputs) {
  return (
    outputs.every((output) => existsSync(output)) && existsSync(stamp) && readFileSync(stamp, 'utf8') === hash
  );
}

export function writeStamp(stamp, hash) {
  writeAtomically(stamp, hash);
}

/** Taken away before the work begins, so that interrupted work is begun again. */
export function clearStamp(stamp) {
  rmSync(stamp, { force: true });
}
