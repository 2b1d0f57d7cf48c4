/** Writing files and folders so that a crash leaves the old or the new one, never half of it. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { CotsError, DataError } from './errors.js';
import { exists, fileError, kindOf } from './read-file.js';

/** Marks what is being written; leftovers of a crash carry it and may be deleted. */
export const unfinishedMark = '.unfinished-';

/** Makes a directory and its parents; failures are `ERR_COTS_FILE`. */
export async function makeDirectory(directory: string): Promise<void> {
  try {
    await makeWithParents(directory);
  } catch (error) {
    throw fileError(error, 'make the directory', directory);
  }
}

/** Not mkdir's `recursive`: Node 20 retries forever where a file system answers ENOENT below a folder that is there, as /proc does. */
async function makeWithParents(directory: string): Promise<void> {
  const made = await mkdir(directory).catch((error: NodeJS.ErrnoException) => error);
  if (!(made instanceof Error)) return;
  if (made.code === 'EEXIST' && (await kindOf(directory)) === 'directory') return;
  const parent = path.dirname(directory);
  if (made.code !== 'ENOENT' || (await kindOf(parent)) !== undefined) throw made;
  await makeWithParents(parent);
  await mkdir(directory);
}

/** Writes a file beside its place, syncs it and renames it. */
export async function writeFileAtomic(file: string, content: string | Uint8Array): Promise<void> {
  await replaceFile(file, async (temporary) => {
    const handle = await open(temporary, 'w');
    try {
      await handle.writeFile(content);
    } finally {
      await handle.close();
    }
  });
}

/** Like `writeFileAtomic`, with the content written by `fill` to the temporary path it is given. */
export async function replaceFile(file: string, fill: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = unfinishedName(file);
  try {
    await fill(temporary);
    await sync(temporary);
    await rename(temporary, file);
    await sync(path.dirname(file));
  } catch (error) {
    await rm(temporary, { force: true, recursive: true });
    throw fileError(error, 'write', file);
  }
}

/** A folder that is being filled beside its place. */
export interface UnfinishedFolder {
  readonly path: string;
  /** Syncs every file in it and renames it; an older folder of that name is replaced. Throws `ERR_COTS_FILE`, after which it is gone. */
  commit(): Promise<void>;
  discard(): Promise<void>;
}

/** Makes an empty folder beside its place. Throws `ERR_COTS_FILE`. */
export async function beginFolder(folder: string): Promise<UnfinishedFolder> {
  const temporary = unfinishedName(folder);
  const discard = (): Promise<void> => rm(temporary, { recursive: true, force: true });
  await makeDirectory(path.dirname(folder));
  try {
    await mkdir(temporary);
  } catch (error) {
    throw fileError(error, 'write', folder);
  }

  const commit = async (): Promise<void> => {
    try {
      await putInPlace(temporary, folder);
    } catch (error) {
      await discard();
      throw fileError(error, 'write', folder);
    }
  };
  return { path: temporary, commit, discard };
}

async function putInPlace(temporary: string, folder: string): Promise<void> {
  for (const name of await readdir(temporary)) await sync(path.join(temporary, name));
  await sync(temporary);
  if (await exists(folder)) {
    const old = unfinishedName(folder);
    await rename(folder, old);
    await rename(temporary, folder);
    await rm(old, { recursive: true, force: true });
  } else {
    await rename(temporary, folder);
  }

  await sync(path.dirname(folder));
}

/** Fills a new folder beside its place, syncs every file in it and renames it; an older folder of that name is replaced. */
export async function replaceFolder(
  folder: string,
  fill: (temporary: string) => Promise<void>,
): Promise<void> {
  const unfinished = await beginFolder(folder);
  try {
    await fill(unfinished.path);
  } catch (error) {
    await unfinished.discard();
    throw fileError(error, 'write', folder);
  }

  await unfinished.commit();
}

/** Fills a temporary folder with the files named, syncs them and moves them into a directory that exists; nothing is moved when one cannot be. */
export async function replaceFiles(
  directory: string,
  names: readonly string[],
  fill: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = path.join(directory, `${unfinishedMark}${randomBytes(4).toString('hex')}`);
  try {
    await mkdir(temporary);
    await fill(temporary);
    for (const name of names) {
      const target = path.join(directory, name);
      if ((await kindOf(target)) === 'directory')
        throw new CotsError(
          'ERR_COTS_FILE',
          `Expected to write the file ${target}, got a directory of that name. Move it away.`,
        );
      await sync(path.join(temporary, name));
    }

    for (const name of names) await rename(path.join(temporary, name), path.join(directory, name));
    await sync(directory);
  } catch (error) {
    throw fileError(error, 'write into', directory);
  } finally {
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
  }
}

function unfinishedName(target: string): string {
  return path.join(
    path.dirname(target),
    `${unfinishedMark}${path.basename(target)}-${randomBytes(4).toString('hex')}`,
  );
}

/**
 * Refuses to write over a folder of other things: it must be new, empty, or hold the file `mark` and none of `never`.
 * `what` names what may be replaced, such as `an index`. Throws `ERR_COTS_DATA`.
 */
export async function refuseForeign(
  folder: string,
  what: string,
  mark: string,
  never: readonly string[] = [],
): Promise<void> {
  const kind = await kindOf(folder);
  if (kind === undefined) return;
  const names = kind === 'directory' ? await namesIn(folder) : [];
  const other = names.find((name) => never.includes(name));
  if (kind === 'directory' && (names.length === 0 || (names.includes(mark) && other === undefined))) return;
  const got = kind === 'file' ? 'a file' : `a folder with ${other ?? names[0]}`;
  throw new DataError(
    `Expected ${folder} to be a new or empty folder, or ${what} to replace, got ${got}. Name another folder.`,
  );
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => !name.startsWith(unfinishedMark));
  } catch (error) {
    throw fileError(error, 'read the folder', folder);
  }
}

/** Whether `replaceFolder` can write a folder, told before the work and not after it. Throws `ERR_COTS_FILE`. */
export async function checkWritable(folder: string): Promise<void> {
  const probe = unfinishedName(folder);
  await makeDirectory(path.dirname(folder));
  try {
    await mkdir(probe);
    await rm(probe, { recursive: true });
  } catch (error) {
    throw fileError(error, 'write', folder);
  }
}

/** Deletes what a crash left unfinished in a directory. */
export async function removeUnfinished(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const name of names) {
    if (name.startsWith(unfinishedMark))
      await rm(path.join(directory, name), { recursive: true, force: true });
  }
}

async function sync(target: string): Promise<void> {
  const handle = await open(target, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
