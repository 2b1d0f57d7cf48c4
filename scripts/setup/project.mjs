// Where things are: the package's own folder, the cache, and build/setup.json, which tells the rest of the
// package what set-up found (lib/binding.ts and `cots doctor` read it).

import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** The cache folder: COTS_CACHE, else ~/.cache/cots. */
export function cacheFolder() {
  return process.env.COTS_CACHE ? resolve(process.env.COTS_CACHE) : join(homedir(), '.cache', 'cots');
}

const setupFile = join(root, 'build', 'setup.json');

/**
 * What set-up found, `{}` before the first run:
 * `{ node, tools: { NAME: { path, mtimeMs, version } }, libtorch: { folder, version, cuda, from, ways },
 *    ffmpeg: { path, mtimeMs, version, from } | null, native: { addon, tests, jobs } }`
 */
export function readState() {
  try {
    return JSON.parse(readFileSync(setupFile, 'utf8'));
  } catch {
    return {};
  }
}

/** Merges `part` into build/setup.json; written beside and renamed, and only when something differs. */
export function writeState(part) {
  const before = readState();
  const after = { ...before, ...part };
  if (JSON.stringify(before) !== JSON.stringify(after)) {
    writeAtomically(setupFile, `${JSON.stringify(after, null, 2)}\n`);
  }
}

export function writeAtomically(file, text) {
  mkdirSync(dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, text);
  renameSync(temporary, file);
}

/** A failure that set-up explains in its own words: the sentence, then what to do, a line each. */
export class SetupError extends Error {
  constructor(sentence, ways = []) {
    super([sentence, ...ways.map((way) => `  - ${way}`)].join('\n'));
    this.name = 'SetupError';
  }
}
