/** Pictures out of a stream of PPM files, one behind the other: each tells its own size. */

export interface Picture {
  /** RGB, row-major [height, width, 3], in a buffer of its own. */
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

const longestHead = 32;

export class PpmFrames {
  readonly #bytes: number;
  readonly #onPicture: (picture: Picture) => void;
  #head = '';
  #picture: Picture | undefined;
  #filled = 0;

  /** @param bytes of the pixels of each picture: others are refused before they take memory. */
  constructor(bytes: number, onPicture: (picture: Picture) => void) {
    this.#bytes = bytes;
    this.#onPicture = onPicture;
  }

  /** The next bytes of the stream; false where they are no PPM of that size. */
  add(chunk: Uint8Array): boolean {
    for (let at = 0; at < chunk.length; ) {
      if (this.#picture === undefined) {
        this.#head += String.fromCharCode(chunk[at++] as number);
        this.#picture = this.#begin();
        if (this.#picture === undefined && this.#head.length > longestHead) return false;
      } else at += this.#fill(this.#picture, chunk.subarray(at));
    }

    return true;
  }

  /** Undefined until the head is whole. */
  #begin(): Picture | undefined {
    if (!this.#head.endsWith('\n255\n')) return undefined;
    const [, width, height] = /^P6\n(\d+) (\d+)\n255\n$/.exec(this.#head)?.map(Number) ?? [];
    if (width === undefined || height === undefined || 3 * width * height !== this.#bytes) return undefined;
    return { data: new Uint8Array(this.#bytes), width, height };
  }

  /** The number of bytes taken. */
  #fill(picture: Picture, chunk: Uint8Array): number {
    const part = chunk.subarray(0, this.#bytes - this.#filled);
    picture.data.set(part, this.#filled);
    this.#filled += part.length;
    if (this.#filled === this.#bytes) {
      [this.#head, this.#picture, this.#filled] = ['', undefined, 0];
      this.#onPicture(picture);
    }

    return part.length;
  }
}
