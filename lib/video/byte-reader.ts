/** Reads a stream in pieces of the sizes wanted. */
import type { Readable } from 'node:stream';

export class ByteReader {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(stream: Readable) {
    this.#chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** The next `length` bytes in a buffer of their own; undefined when the stream ends before. */
  async read(length: number): Promise<Uint8Array | undefined> {
    const bytes = new Uint8Array(length);
    let filled = 0;
    for (;;) {
      const part = this.#rest.subarray(0, length - filled);
      bytes.set(part, filled);
      filled += part.length;
      this.#rest = this.#rest.subarray(part.length);
      if (filled === length) return bytes;
      const next = await this.#chunks.next().catch(() => undefined); // a stream that was destroyed
      if (next === undefined || next.done === true) return undefined;
      this.#rest = next.value;
    }
  }
}
