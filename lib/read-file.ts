/** Reading a file that a user named, with messages that say what is wrong and what to do. */
import { readFile } from 'node:fs/promises';
import { CotsError } from './errors.js';

const reasons: Record<string, string> = {
  ENOENT: 'there is none: check the path',
  EACCES: 'this user may not read it: change its permissions or run as its owner',
  EPERM: 'this user may not read it: change its permissions or run as its owner',
  EISDIR: 'it is a directory: give the path of a file',
  ENOTDIR: 'a part of the path is a file, not a directory: check the path',
  EMFILE: 'this process has too many open files: raise `ulimit -n`',
};

/** The bytes of `path`. `what` names the file in the message, such as "a manifest". Throws `ERR_COTS_FILE`. */
export async function readBytes(path: string, what: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw fileError(error, path, what);
  }
}

/** The text of `path` as UTF-8, without a byte order mark. Throws `ERR_COTS_FILE`. */
export async function readText(path: string, what: string): Promise<string> {
  const text = (await readBytes(path, what)).toString('utf8');
  return text.startsWith('\uFEFF') ? text.slice(1) : text;
}

/** A system error about a file as a CotsError (`ERR_COTS_FILE`). */
export function fileError(error: unknown, path: string, what: string): CotsError {
  if (error instanceof CotsError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const reason = reasons[code] ?? `the system says ${(error as Error).message}`;
  return new CotsError('ERR_COTS_FILE', `Expected ${what} that can be read at ${path}, but ${reason}.`, {
    cause: error,
  });
}
