/** Reading what a user named, and failures of the file system as `CotsError`: what was tried, on which path, why it failed, what to do. */
import { createHash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { CotsError } from './errors.js';

/** A failure of the file system as `ERR_COTS_FILE`; `action` reads like `read a manifest at`. Other errors pass. */
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
  EIO: 'an input/output error of the disk or mount. Look at the disk, or mount it again.',
  ENOTCONN: 'a mount that lost its connection. Mount it again.',
  ESTALE: 'a mount on which the file was replaced. Mount it again.',
  ETIMEDOUT: 'a mount that does not answer. Mount it again.',
  ELOOP: 'links that lead to each other. Mend the links.',
  EMFILE: 'too many open files. Raise the limit (ulimit -n).',
};

/** Whether a failure of these functions is that there is no such file. */
export function isMissing(error: unknown): boolean {
  return ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
}

/** The bytes of a file. `what` names it in the message, such as `a manifest`. Throws `ERR_COTS_FILE`. */
export async function readBytes(file: string, what = 'a file'): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    throw fileError(error, `read ${what} at`, file);
  }
}

/**
 * The bytes of a regular file as long as it is when it is opened, so that one that grows has an end, and a pipe or device is told from
 * a file. Throws `ERR_COTS_FILE`, also for more than `most` bytes.
 * @param allocate memory for that many bytes, whatever is in it.
 */
export async function readRegularFile(
  file: string,
  what: string,
  most: number,
  allocate: (bytes: number) => Buffer = Buffer.allocUnsafe,
): Promise<Buffer> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK); // a pipe nobody writes to would wait here
    const found = await handle.stat();
    if (found.isDirectory()) throw Object.assign(new Error('a directory'), { code: 'EISDIR' });
    const wrong = found.isFile() ? tooLarge(found.size, most) : 'a pipe or device. Name a file.';
    if (wrong !== undefined)
      throw new CotsError('ERR_COTS_FILE', `Expected to read ${what} at ${file}, got ${wrong}`);
    const bytes = allocate(found.size);
    let filled = 0;
    for (let read = -1; filled < bytes.length && read !== 0; filled += read)
      read = (await handle.read(bytes, filled, bytes.length - filled, filled)).bytesRead;
    return bytes.subarray(0, filled);
  } catch (error) {
    throw fileError(error, `read ${what} at`, file);
  } finally {
    await handle?.close();
  }
}

function tooLarge(size: number, most: number): string | undefined {
  return size > most ? `${size} bytes, more than ${most}. Make it smaller first.` : undefined;
}

/**
 * The bytes of a text file piece by piece, up to the end of the line that it has last when it is opened: one that grows has an end, and a line
 * that was being written then is not cut. Throws `ERR_COTS_FILE` for one that became shorter meanwhile, or what the file system throws.
 */
export async function* bytesAsOpened(file: string): AsyncGenerator<Buffer, void, undefined> {
  const handle = await open(file, 'r');
  try {
    const found = await handle.stat();
    const size = found.isFile() ? found.size : 0; // 0 too where the kernel makes the file: then to its end
    let read = 0;
    let last: number | undefined;
    const stream = handle.createReadStream({ autoClose: false, ...(size > 0 && { end: size - 1 }) });
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      read += chunk.length;
      last = chunk.at(-1);
      yield chunk;
    }

    if (read < size)
      throw new CotsError(
        'ERR_COTS_FILE',
        `Expected ${file} to keep its ${size} bytes while it is read, it ended after ${read}. Read it again when nothing writes to it.`,
      );
    if (size > 0 && last !== lineFeed) yield* restOfLine(handle, size);
  } finally {
    await handle.close();
  }
}

const lineFeed = 0x0a;

/** The bytes from `position` up to the next line feed, with it, or to the end of the file. */
async function* restOfLine(handle: FileHandle, position: number): AsyncGenerator<Buffer, void, undefined> {
  for (let ended = false; !ended; ) {
    const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(4096), 0, 4096, position);
    const end = buffer.subarray(0, bytesRead).indexOf(lineFeed);
    ended = end >= 0 || bytesRead === 0;
    position += bytesRead;
    yield buffer.subarray(0, end >= 0 ? end + 1 : bytesRead);
  }
}

/** The text of a file as UTF-8, without a byte order mark. Throws `ERR_COTS_FILE`. */
export async function readText(file: string, what = 'a file'): Promise<string> {
  const text = (await readBytes(file, what)).toString('utf8');
  return text.startsWith('\uFEFF') ? text.slice(1) : text;
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

/** Whether anything has that path. */
export async function exists(target: string): Promise<boolean> {
  return (await kindOf(target)) !== undefined;
}

/** What a path is; undefined when there is nothing. */
export async function kindOf(target: string): Promise<'file' | 'directory' | undefined> {
  try {
    return (await stat(target)).isDirectory() ? 'directory' : 'file';
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes((error as NodeJS.ErrnoException).code ?? ''))
      return undefined;
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
