/** The vectors of the frames behind some videos, read when they are asked for: there are many times as many as of videos. */
import { DataError } from '../errors.js';
import type { Entry } from './metadata.js';
import { readFloats, readNpyShape } from './npy.js';

/** A file of float32 rows. */
interface RowsFile {
  readonly file: string;
  /** Where its rows begin, in bytes. */
  readonly offset: number;
  /** Rows of the files before it, and its own. */
  readonly first: number;
  readonly rows: number;
}

/** Rows of frames by the number of their video. */
export class FrameRows {
  readonly #files: readonly RowsFile[];
  readonly #dimension: number;
  /** Row of each video's first frame; a last number for the end. */
  readonly #starts: Float64Array;

  private constructor(files: readonly RowsFile[], dimension: number, starts: Float64Array) {
    this.#files = files;
    this.#dimension = dimension;
    this.#starts = starts;
  }

  /** Of .npy files, one after the other. Throws `ERR_COTS_DATA` where they do not hold the frames that the entries name. */
  static async ofNpy(
    files: readonly string[],
    entries: readonly Entry[],
    dimension: number,
  ): Promise<FrameRows> {
    const found: RowsFile[] = [];
    let first = 0;
    for (const file of files) {
      const { shape, offset } = await readNpyShape(file);
      found.push({ file, offset, first, rows: shape[0] });
      first += shape[0];
    }

    return FrameRows.#checked(found, entries, dimension, files.join(', '));
  }

  /** Of a file that is nothing but rows. */
  static ofRaw(file: string, rows: number, entries: readonly Entry[], dimension: number): FrameRows {
    return FrameRows.#checked([{ file, offset: 0, first: 0, rows }], entries, dimension, file);
  }

  static #checked(
    files: readonly RowsFile[],
    entries: readonly Entry[],
    dimension: number,
    name: string,
  ): FrameRows {
    const starts = new Float64Array(entries.length + 1);
    for (const [index, { clip }] of entries.entries())
      starts[index + 1] = (starts[index] as number) + (clip?.indices.length ?? 0);
    const rows = files.reduce((sum, one) => sum + one.rows, 0);
    if (rows === starts[entries.length]) return new FrameRows(files, dimension, starts);
    throw new DataError(
      `Expected ${name} to hold the ${starts[entries.length]} frames that the metadata names, got ${rows} rows. Embed again.`,
    );
  }

  /** Frames of all videos. */
  get count(): number {
    return this.#starts.at(-1) as number;
  }

  /** The rows [F, D] of a video's frames. */
  async of(video: number): Promise<Float32Array> {
    const [begin, end] = [this.#starts[video] as number, this.#starts[video + 1] as number];
    const rows = new Float32Array((end - begin) * this.#dimension);
    for (const { file, offset, first, rows: own } of this.#files) {
      const [from, to] = [Math.max(begin, first), Math.min(end, first + own)];
      if (from >= to) continue;
      const bytes = offset + (from - first) * this.#dimension * 4;
      const part = await readFloats(file, 'float32', (to - from) * this.#dimension, bytes);
      rows.set(part, (from - begin) * this.#dimension);
    }

    return rows;
  }
}
