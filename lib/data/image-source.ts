/** Decoded images by item: a bounded number decoded at a time, small ones kept for later epochs. */
import { type DecodedImage, decodeBytes } from './decode.js';
import { DecodeQueue, type DecodeQueueOptions } from './decode-queue.js';
import { readMedia } from './media.js';

export interface ImageSourceOptions extends DecodeQueueOptions {
  /** Path of an item's image. */
  readonly path: (item: number) => string;
  readonly exifRotate: boolean;
  /** Decoded bytes kept for later. */
  readonly cacheBytes: number;
  /** Images of more decoded bytes are not kept. */
  readonly cacheImageBytes: number;
}

/** Reads and decodes images. A failure is remembered and told again without another try. */
export class ImageSource {
  readonly #options: ImageSourceOptions;
  readonly #queue: DecodeQueue;
  readonly #kept = new Map<number, DecodedImage>();
  #keptBytes = 0;

  constructor(options: ImageSourceOptions) {
    this.#options = options;
    this.#queue = new DecodeQueue(options);
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
  isSmall({ data }: DecodedImage): boolean {
    return data.length <= this.#options.cacheImageBytes;
  }

  /**
   * Decodes the image of an item and hands it to `use`; its bytes count as in work until `use` has settled. Throws
   * `ERR_COTS_IMAGE` or `ERR_COTS_FILE`.
   */
  async load<T>(item: number, use: (image: DecodedImage) => Promise<T>): Promise<T> {
    const { exifRotate } = this.#options;
    const path = this.#options.path(item);
    return this.#queue.run(
      item,
      async (admit) => decodeBytes(await readMedia(path, 'an image'), path, exifRotate, admit),
      (image) => {
        this.#keep(item, image);
        return use(image);
      },
    );
  }

  #keep(item: number, image: DecodedImage): void {
    const bytes = image.data.length;
    if (!this.isSmall(image) || this.#keptBytes + bytes > this.#options.cacheBytes) return;
    this.#kept.set(item, image);
    this.#keptBytes += bytes;
  }
}
