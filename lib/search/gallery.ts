/** Vectors that are searched where they lie on disk: one file, or the partitions of a folder of embeddings as one. */
import { binding, type Matrix, type NativeGallery, type NativeTopK } from '../binding.js';
import { usableCores } from '../device.js';
import { readNpyShape } from './npy.js';

/** Rows in a file, one after the other. */
export interface GalleryFile {
  readonly file: string;
  /** Bytes before the first row. */
  readonly offset: number;
  readonly rows: number;
  readonly dtype: 'float32' | 'float16';
}

interface OpenFile {
  readonly native: NativeGallery;
  /** Rows of the files before it, and its own. */
  readonly first: number;
  readonly rows: number;
}

export class Gallery {
  /** Rows of all files, and numbers of a row. */
  readonly shape: readonly [rows: number, columns: number];
  readonly #files: readonly OpenFile[];

  private constructor(shape: readonly [number, number], files: readonly OpenFile[]) {
    this.shape = shape;
    this.#files = files;
  }

  /** Maps the files. Throws `ERR_COTS_FILE`, and `ERR_COTS_DATA` for one that is too short for its rows. */
  static async open(
    files: readonly GalleryFile[],
    dimension: number,
    threads = usableCores(),
  ): Promise<Gallery> {
    const open: OpenFile[] = [];
    let first = 0;
    for (const { rows, ...source } of files) {
      const native = await binding().openGallery({ ...source, rows, dimension, threads });
      open.push({ native, first, rows });
      first += rows;
    }

    return new Gallery([first, dimension], open);
  }

  /** The `k` best rows for each query, at most all; as `ops.topK`: best first, equal scores by lower row. */
  async topK(queries: Matrix, k: number): Promise<NativeTopK> {
    const parts: { readonly first: number; readonly found: NativeTopK }[] = [];
    for (const { native, first, rows } of this.#files) {
      if (rows === 0) continue;
      parts.push({ first, found: await native.topK({ queries, k: Math.min(k, rows), cancel: null }) });
    }

    const [only] = parts;
    if (parts.length === 1 && only !== undefined) return only.found;
    return merged(parts, queries.shape[0], Math.min(k, this.shape[0]));
  }

  /** Lets go of the files. */
  dispose(): void {
    for (const { native } of this.#files) native.dispose();
  }
}

/** Rows of a later file come after those of an earlier one, so a stable sort keeps equal scores in order. */
function merged(
  parts: readonly { readonly first: number; readonly found: NativeTopK }[],
  queries: number,
  k: number,
): NativeTopK {
  const indices = new Uint32Array(queries * k);
  const scores = new Float32Array(queries * k);
  for (let query = 0; query < queries; query++) {
    const all = parts.flatMap(({ first, found: { indices: rows, scores: own, shape } }) =>
      Array.from({ length: shape[1] }, (_, place) => ({
        row: first + (rows[query * shape[1] + place] as number),
        score: own[query * shape[1] + place] as number,
      })),
    );
    all.sort((a, b) => b.score - a.score);
    for (const [place, { row, score }] of all.slice(0, k).entries()) {
      indices[query * k + place] = row;
      scores[query * k + place] = score;
    }
  }

  return { indices, scores, shape: [queries, k] };
}

/** A .npy file as rows. Throws `ERR_COTS_DATA` for another array than a matrix of floats. */
export async function npyRows(file: string): Promise<GalleryFile & { readonly columns: number }> {
  const { dtype, shape, offset } = await readNpyShape(file);
  return { file, offset, rows: shape[0], columns: shape[1], dtype };
}
