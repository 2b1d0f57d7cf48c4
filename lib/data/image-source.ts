/** Decoded images by item: a bounded number decoded at a time, small ones kept for later epochs. */
import { CotsError, ImageError } from '../errors.js';
import { ByteBudget } from './byte-budget.js';
import { type DecodedImage, decodeBytes } from './decode.js';
import { readMedia } from './media.js';

export interface ImageSourceOptions {
  /** Path of an item's image. */
  readonly path: (item: number) => string;
  readonly exifRotate: boolean;
  /** Images decoded at the same time. */
  readonly workers: number;
  /** Decoded bytes of images in work. */
  readonly workBytes: number;
  /** Decoded bytes kept for later. */
  readonly cacheBytes: number;
  /** Images of more decoded bytes are not kept. */
  readonly cacheImageBytes: number;
}

/** Reads and decodes images. A failure is an `ImageError`, remembered and told again without another try. */
export class ImageSource {
  readonly #options: ImageSourceOptions;
  readonly #slots: ByteBudget;
  readonly #bytes: ByteBudget;
  readonly #kept = new Map<number, DecodedImage>();
  readonly #failed = new Map<number, CotsError>();
  #keptBytes = 0;

  constructor(options: ImageSourceOptions) {
    this.#options = options;
    this.#slots = new ByteBudget(options.workers);
    this.#bytes = new ByteBudget(options.workBytes);
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
    const failure = this.#failed.get(item);
    if (failure !== undefined) throw failure;
    await this.#slots.acquire(1);
    let held = 0;
    try {
      const image = await this.#decode(item, async (bytes) => {
        await this.#bytes.acquire(bytes);
        held = bytes;
      });
      this.#keep(item, image);
      return await use(image);
    } finally {
      if (held > 0) this.#bytes.release(held);
      this.#slots.release(1);
    }
  }

  async #decode(item: number, admit: (bytes: number) => Promise<void>): Promise<DecodedImage> {
    const path = this.#options.path(item);
    try {
      return await decodeBytes(await readMedia(path, 'an image'), path, this.#options.exifRotate, admit);
    } catch (error) {
      const failure =
        error instanceof CotsError
          ? error
          : new ImageError(`Expected ${path} to be decoded, got: ${String(error)}.`, { cause: error });
      this.#failed.set(item, failure);
      throw failure;
    }
  }

  #keep(item: number, image: DecodedImage): void {
    const bytes = image.data.length;
    if (!this.isSmall(image) || this.#keptBytes + bytes > this.#options.cacheBytes) return;
    this.#kept.set(item, image);
    this.#keptBytes += bytes;
  }
}
