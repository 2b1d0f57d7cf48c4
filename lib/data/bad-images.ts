/** Counts images that cannot be used, lists them in a file, and says when there are too many. */
import { appendFile } from 'node:fs/promises';
import path from 'node:path';
import { CotsError, DataError } from '../errors.js';
import { fileError } from '../read-file.js';
import { makeDirectory } from '../write-file.js';

/** A small data set is judged as a whole, a large one after this many images. */
const judgedAfter = 1000;

export interface BadImagesOptions {
  /** Items of the data set. */
  readonly items: number;
  /** Share of bad images from which on the run stops. */
  readonly maxFraction: number;
  /** JSON lines {id, image, code, message} are added here; null: not listed. */
  readonly file: string | null;
}

/** The bad images of a run. */
export class BadImages {
  readonly #options: BadImagesOptions;
  readonly #seen = new Set<number>();
  #inRow = 0;
  #written: Promise<void> = Promise.resolve();

  constructor(options: BadImagesOptions) {
    this.#options = options;
  }

  /** Different images found bad. */
  get count(): number {
    return this.#seen.size;
  }

  /** A good image came. */
  good(): void {
    this.#inRow = 0;
  }

  /**
   * An image failed. `tried`: draws so far. Throws `ERR_COTS_DATA` above `maxFraction`.
   */
  bad(item: number, id: string, image: string, error: unknown, tried: number): void {
    const { items, maxFraction } = this.#options;
    this.#inRow++;
    if (!this.#seen.has(item)) {
      this.#seen.add(item);
      this.#list({
        id,
        image,
        code: error instanceof CotsError ? error.code : 'ERR_COTS_IMAGE',
        message: (error as Error).message,
      });
    }

    const judged = Math.max(Math.min(tried, items), Math.min(items, judgedAfter));
    const tooMany = this.#seen.size > maxFraction * judged;
    if (!tooMany && this.#inRow < 2 * items) return;
    const listed = this.#options.file === null ? '' : ` ${this.#options.file} lists them.`;
    throw new DataError(
      `Expected at most ${100 * maxFraction} % of the images to be bad (data.maxBadFraction), got ${this.#seen.size} of ${judged}; ` +
        `the last one: ${(error as Error).message}${listed} Mend the data, or raise data.maxBadFraction.`,
      { cause: error },
    );
  }

  /** Settles when the list is written. Throws `ERR_COTS_FILE`. */
  flush(): Promise<void> {
    return this.#written;
  }

  #list(line: object): void {
    const { file } = this.#options;
    if (file === null) return;
    this.#written = this.#written.then(async () => {
      try {
        await makeDirectory(path.dirname(file));
        await appendFile(file, `${JSON.stringify(line)}\n`);
      } catch (error) {
        throw fileError(error, 'write the list of bad images', file);
      }
    });
    this.#written.catch(() => {});
  }
}
