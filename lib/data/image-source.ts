/** Decoded images by item: a bounded number decoded at a time, small ones kept for later epochs. */
import { type DecodedImage, decodeBytes, decodeWithSharp, refuseTooLarge } from './decode.js';
import { type Admit, DecodeQueue, type DecodeQueueOptions } from './decode-queue.js';
import { type PlainJpeg, plainJpeg } from './jpeg.js';
import { readMedia } from './media.js';
import { ReusedBuffers } from './reused-buffers.js';

export interface ImageSourceOptions extends DecodeQueueOptions {
  /** Path of an item's image. */
  readonly path: (item: number) => string;
  readonly exifRotate: boolean;
  /** Decoded bytes kept for later. */
  readonly cacheBytes: number;
  /** Images of more decoded bytes are not kept. */
  readonly cacheImageBytes: number;
}

/** What becomes of an image. */
export interface ImageUse<T> {
  /** Takes a large JPEG before it is decoded; null where that cannot be: its pixels come after all. */
  readonly jpeg: (image: PlainJpeg) => Promise<T | null>;
  /** Takes the whole image. */
  readonly pixels: (image: DecodedImage) => Promise<T>;
}

/** Reads and decodes images. A failure is remembered and told again without another try. */
export class ImageSource {
  readonly #options: ImageSourceOptions;
  readonly #queue: DecodeQueue;
  readonly #encoded: ReusedBuffers;
  readonly #kept = new Map<number, DecodedImage>();
  #keptBytes = 0;

  constructor(options: ImageSourceOptions) {
    this.#options = options;
    this.#queue = new DecodeQueue(options);
    this.#encoded = new ReusedBuffers(options.workers);
  }

  /** Decoded bytes kept. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  /** The image of an item if it is kept. */
  kept(item: number): DecodedImage | undefined {
    return this.#kept.get(item);
  }

  /** True for an image that is not worth a native call of its own. */
  isSmall({ width, height }: { width: number; height: number }): boolean {
    return 3 * width * height <= this.#options.cacheImageBytes;
  }

  /**
   * Hands the image of an item to `use`; its decoded bytes count as in work until that has settled. Throws `ERR_COTS_IMAGE`,
   * `ERR_COTS_FILE`.
   */
  async load<T>(item: number, use: ImageUse<T>): Promise<T> {
    return this.#queue.run(
      item,
      (admit) => this.#decode(item, use.jpeg, admit),
      async (decoded) => {
        if ('used' in decoded) return decoded.used;
        this.#keep(item, decoded);
        return use.pixels(decoded);
      },
    );
  }

  async #decode<T>(
    item: number,
    useJpeg: ImageUse<T>['jpeg'],
    admit: Admit,
  ): Promise<DecodedImage | { used: T }> {
    const path = this.#options.path(item);
    let lent: Buffer | undefined;
    try {
      const bytes = await readMedia(path, 'an image', (size) => {
        lent = this.#encoded.take(size);
        return lent;
      });
      return await this.#decodeBytes(bytes, path, useJpeg, admit);
    } finally {
      if (lent !== undefined) this.#encoded.give(lent);
    }
  }

  async #decodeBytes<T>(
    bytes: Buffer,
    path: string,
    useJpeg: ImageUse<T>['jpeg'],
    admit: Admit,
  ): Promise<DecodedImage | { used: T }> {
    const { exifRotate } = this.#options;
    const jpeg = plainJpeg(bytes, exifRotate);
    if (jpeg === null || this.isSmall(jpeg)) return decodeBytes(bytes, path, exifRotate, admit);
    refuseTooLarge(jpeg, path);
    await admit(3 * jpeg.width * jpeg.height);
    const used = await useJpeg(jpeg);
    return used === null ? decodeWithSharp(bytes, path, exifRotate, async () => {}) : { used };
  }

  #keep(item: number, image: DecodedImage): void {
    const bytes = image.data.length;
    if (!this.isSmall(image) || this.#keptBytes + bytes > this.#options.cacheBytes) return;
    this.#kept.set(item, image);
    this.#keptBytes += bytes;
  }
}
