/** Bytes by position, of a file or behind a URL. */
import { open } from 'node:fs/promises';
import { isRemote } from '../../remote/location.js';
import { readRemoteRange, remoteState } from '../../remote/remote-file.js';

/** Memory for that many bytes, whatever is in it. */
export type Allocate = (bytes: number) => Buffer;

export interface ByteSource {
  readonly bytes: number;
  /** Another one means other bytes. */
  readonly version: string;
  /** Fewer bytes than asked for at the end; from a file, into what `allocate` gives. Throws `ERR_COTS_FILE`, or what the file system throws. */
  read(position: number, length: number, allocate?: Allocate): Promise<Buffer>;
  close(): Promise<void>;
}

/** Opens a path or URL. Throws `ERR_COTS_FILE`, or what the file system throws. */
export function openBytes(location: string): Promise<ByteSource> {
  return isRemote(location) ? openRemote(location) : openFile(location);
}

async function openFile(file: string): Promise<ByteSource> {
  const handle = await open(file, 'r');
  try {
    const { size, mtimeMs } = await handle.stat();
    return {
      bytes: size,
      version: String(mtimeMs),
      async read(position, length, allocate = Buffer.allocUnsafe) {
        // A broken header may claim more than any memory holds.
        const room = Math.max(0, Math.min(length, size - position));
        const { buffer, bytesRead } = await handle.read(allocate(room), 0, room, position);
        return buffer.subarray(0, bytesRead);
      },
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Bytes of one request while a file is gone through: a request a header would take a round trip each. */
const windowBytes = 4 * 2 ** 20;

async function openRemote(location: string): Promise<ByteSource> {
  const state = await remoteState(location);
  let begin = 0;
  let held: Buffer = Buffer.alloc(0);
  return {
    ...state,
    async read(position, length) {
      const inside = position >= begin && position + length <= begin + held.length;
      if (!inside) {
        held = await readRemoteRange(location, [position, Math.max(length, windowBytes)], state);
        begin = position;
      }

      return held.subarray(position - begin, position - begin + length);
    },
    close: async () => {},
  };
}
