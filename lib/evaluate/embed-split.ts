/** Embeds a data set for evaluation: each image or video once, each of its captions. */
import type { Matrix } from '../binding.js';
import type { ManifestEntry } from '../data/manifest.js';
import { CotsError, type CotsErrorCode, DataError } from '../errors.js';
import type { Cots } from '../model/cots.js';
import { foldsOf, type Protocol, textsAnImage } from './protocols.js';

export interface EmbeddedSplit {
  /** Unit rows, one an entry, in order. */
  readonly images: Matrix;
  /** Unit rows: the captions of entry 0, of entry 1, ... */
  readonly texts: Matrix;
  /** Entry that each text belongs to. */
  readonly imageOfText: Int32Array;
}

export interface EmbedSplitOptions {
  /** Captions taken of each image. @default Infinity */
  readonly captionsPerImage?: number;
  /** Frames of a video (SPEC 5.2). @default 12 */
  readonly frames?: number;
  readonly signal?: AbortSignal | undefined;
  /** Called with the images or videos and texts embedded so far. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

const chunk = 256;

/** Whether entries are what a protocol takes, before any is embedded. Throws `ERR_COTS_DATA` as `embedSplit` and `evaluateRetrieval` would. */
export function checkSplit(entries: readonly ManifestEntry[], protocol: Protocol): void {
  mediaOf(entries);
  const captions = captionsTaken(entries, textsAnImage(protocol));
  foldsOf(protocol, entries.length, ownersOf(captions));
}

/** Throws `ERR_COTS_DATA` for images beside videos or an entry without a caption, `ERR_COTS_IMAGE` and `ERR_COTS_VIDEO` for one that cannot be read. */
export async function embedSplit(
  model: Cots,
  entries: readonly ManifestEntry[],
  options: EmbedSplitOptions = {},
): Promise<EmbeddedSplit> {
  const { captionsPerImage = Infinity, frames, signal, onProgress } = options;
  const media = mediaOf(entries);
  const captions = captionsTaken(entries, captionsPerImage);
  const texts = captions.flat();
  const total = entries.length + texts.length;
  const embedOptions = signal === undefined ? {} : { signal };
  const onMedia = (done: number): void => onProgress?.(done, total);
  const images =
    media.kind === 'video'
      ? await embedVideos(
          model,
          media.files,
          { ...embedOptions, ...(frames === undefined ? {} : { frames }) },
          onMedia,
        )
      : await inChunks(media.files, (part) => model.embedImages(part, embedOptions), onMedia);
  const textRows = await inChunks(
    texts,
    (part) => model.embedTexts(part, embedOptions),
    (done) => onProgress?.(entries.length + done, total),
  );
  return { images, texts: textRows, imageOfText: ownersOf(captions) };
}

/** What the entries of a split are. */
export type MediaKind = 'image' | 'video';

/** The files of entries of one kind. Throws `ERR_COTS_DATA` for two kinds. */
export function mediaOf(entries: readonly ManifestEntry[]): { kind: MediaKind; files: string[] } {
  const kind = entries[0]?.video === undefined ? 'image' : 'video';
  const files = entries.map((entry) => {
    const file = entry[kind];
    if (file !== undefined) return file;
    throw new DataError(
      `Expected entries of one kind to evaluate, '${entries[0]?.id}' is ${kind === 'image' ? 'an image' : 'a video'} and '${entry.id}' is not. Split the data set.`,
    );
  });
  return { kind, files };
}

/** Unit rows, one a video, in order: by one stream, so that every forward batch is full. */
async function embedVideos(
  model: Cots,
  files: readonly string[],
  options: { frames?: number; signal?: AbortSignal },
  onDone: (done: number) => void,
): Promise<Matrix> {
  async function* items(): AsyncGenerator<{ id: string; video: string }> {
    for (const [index, video] of files.entries()) yield { id: String(index), video };
  }

  let rows: Matrix | undefined;
  let done = 0;
  for await (const { vectors, errors } of model.embed(items(), options)) {
    const [error] = errors;
    if (error !== undefined) throw new CotsError(error.code as CotsErrorCode, error.message);
    rows ??= emptyRows(files.length, vectors.shape[1]);
    rows.data.set(vectors.data, done * vectors.shape[1]);
    done += vectors.shape[0];
    onDone(done);
  }

  return rows ?? emptyRows(0, 1);
}

function emptyRows(rows: number, columns: number): Matrix {
  return { data: new Float32Array(rows * columns), shape: [rows, columns] };
}

function captionsTaken(entries: readonly ManifestEntry[], count: number): string[][] {
  return entries.map(({ id, captions }) => {
    if (captions.length > 0) return captions.slice(0, count);
    throw new DataError(
      `Expected every entry to have a caption, '${id}' has none. Add one or leave the entry out.`,
    );
  });
}

function ownersOf(captions: readonly (readonly string[])[]): Int32Array {
  return Int32Array.from(captions.flatMap((list, image) => list.map(() => image)));
}

async function inChunks<T>(
  items: readonly T[],
  embed: (part: T[]) => Promise<Matrix>,
  onDone: (done: number) => void,
): Promise<Matrix> {
  let rows: Matrix | undefined;
  for (let begin = 0; begin < items.length; begin += chunk) {
    const part = await embed(items.slice(begin, begin + chunk));
    rows ??= emptyRows(items.length, part.shape[1]);
    rows.data.set(part.data, begin * part.shape[1]);
    onDone(Math.min(begin + chunk, items.length));
  }

  return rows ?? emptyRows(0, 1);
}
