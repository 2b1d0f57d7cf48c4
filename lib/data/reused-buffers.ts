/** Memory for files that are read, decoded and forgotten one after another: fresh memory for each keeps the garbage collector busy. */

/** Larger ones are left to the garbage collector. */
const largestKept = 4 * 2 ** 20;

export class ReusedBuffers {
  readonly #most: number;
  readonly #free: Buffer[] = [];

  /** @param most buffers kept while nobody uses them. */
  constructor(most: number) {
    this.#most = most;
  }

  /** A buffer of that many bytes, whatever is in it; the caller's until it is given back. */
  take(bytes: number): Buffer {
    const at = this.#free.findIndex((buffer) => buffer.length >= bytes);
    const whole = at < 0 ? Buffer.allocUnsafeSlow(roundUp(bytes)) : (this.#free.splice(at, 1)[0] as Buffer);
    return whole.subarray(0, bytes);
  }

  /** Takes back one that `take` gave, or a part of it, which nobody may read any more. */
  give({ buffer }: Buffer): void {
    if (buffer.byteLength <= largestKept && this.#free.length < this.#most)
      this.#free.push(Buffer.from(buffer as ArrayBuffer));
  }
}

/** To a power of two, so that one buffer serves files of about its size. */
function roundUp(bytes: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(bytes, 4096)));
}
