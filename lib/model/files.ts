/** Writing files and folders so that a crash leaves the old or the new one, never half of it; and file failures as `CotsError`. */
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { CotsError } from '../errors.js';

/** Marks what is being written; leftovers of a crash carry it and may be deleted. */
export const unfinishedMark = '.unfinished-';

/** A failure of the file system as `ERR_COTS_FILE`: what was tried, on which path, why it failed, what to do. Other errors pass. */
export function fileError(error: unknown, action: string, file: string): unknown {
  const code = (error as NodeJS.ErrnoException)?.code;
  if (error instanceof CotsError || typeof code !== 'string') return error;
  const reason = reasons[code] ?? `${code}.`;
  return new CotsError('ERR_COTS_FILE', `Expected to ${action} ${file}, got ${reason}`, { cause: error });
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory. Check the path.',
  EACCES: 'permission denied. Use a path that this user may use.',
  EPERM: 'permission denied. Use a path that this user may use.',
  EROFS: 'a read-only file system. Use another path.',
  ENOSPC: 'a full disk. Free some space or use another path; what was complete before is untouched.',
  EDQUOT: 'a full quota. Free some space or use another path; what was complete before is untouched.',
  EFBIG: 'a file larger than this process may write. Raise the limit (ulimit -f) or use another path.',
  EISDIR: 'a directory where a file is needed. Name a file.',
  ENOTDIR: 'a file where a directory is needed. Name a directory.',
  EEXIST: 'a file of that name in the way. Use another path.',
  EMFILE: 'too many open files. Raise the limit (ulimit -n).',
};

/** Reads a text file; failures are `ERR_COTS_FILE`. */
export async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw fileError(error, 'read', file);
  }
}

/** Reads a JSON object; `code` is the error code of a file that is not one. */
export async function readJson(
  file: string,
  code: 'ERR_COTS_CHECKPOINT' | 'ERR_COTS_DATA' = 'ERR_COTS_CHECKPOINT',
): Promise<unknown> {
  const content = await readText(file);
  try {
    return JSON.parse(content);
  } catch (error) {
    throw new CotsError(
      code,
      `Expected ${file} to be JSON, got: ${(error as Error).message}. Restore the file from its source.`,
      {
        cause: error,
      },
    );
  }
}

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

/** Fills a new folder beside its place, syncs every file in it and renames it; an older folder of that name is replaced. */
export async function replaceFolder(
  folder: string,
  fill: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = unfinishedName(folder);
  await makeDirectory(path.dirname(folder));
  try {
    await mkdir(temporary);
    await fill(temporary);
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
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw fileError(error, 'write', folder);
  }
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

/** Whether anything has that path. */
export async function exists(target: string): Promise<boolean> {
  return (await kindOf(target)) !== undefined;
}

/** What a path is; undefined when there is nothing. */
export async function kindOf(target: string): Promise<'file' | 'directory' | undefined> {
  try {
    return (await stat(target)).isDirectory() ? 'directory' : 'file';
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw fileError(error, 'read', target);
  }
}

/** SHA-256 of a file's bytes, in hex. */
export async function hashFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash);
  } catch (error) {
    throw fileError(error, 'read', file);
  }

  return hash.digest('hex');
}
