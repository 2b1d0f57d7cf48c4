/** Embeds a data set for evaluation: each image once, each of its captions. */
import type { Matrix } from '../binding.js';
import type { ManifestEntry } from '../data/manifest.js';
import { DataError } from '../errors.js';
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
  readonly signal?: AbortSignal | undefined;
  /** Called with the images and texts embedded so far. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

const chunk = 256;

/** Whether entries are what a protocol takes, before any is embedded. Throws `ERR_COTS_DATA` as `embedSplit` and `evaluateRetrieval` would. */
export function checkSplit(entries: readonly ManifestEntry[], protocol: Protocol): void {
  entries.forEach(imageOf);
  const captions = captionsTaken(entries, textsAnImage(protocol));
  foldsOf(protocol, entries.length, ownersOf(captions));
}

/** Throws `ERR_COTS_DATA` for a video or an entry without a caption, `ERR_COTS_IMAGE` for an image that cannot be read. */
export async function embedSplit(
  model: Cots,
  entries: readonly ManifestEntry[],
  options: EmbedSplitOptions = {},
): Promise<EmbeddedSplit> {
  const { captionsPerImage = Infinity, signal, onProgress } = options;
  const images = entries.map(imageOf);
  const captions = captionsTaken(entries, captionsPerImage);
  const texts = captions.flat();
  const total = images.length + texts.length;
  const embedOptions = signal === undefined ? {} : { signal };
  const imageRows = await inChunks(
    images,
    (part) => model.embedImages(part, embedOptions),
    (done) => onProgress?.(done, total),
  );
  const textRows = await inChunks(
    texts,
    (part) => model.embedTexts(part, embedOptions),
    (done) => onProgress?.(images.length + done, total),
  );
  return { images: imageRows, texts: textRows, imageOfText: ownersOf(captions) };
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

function imageOf(entry: ManifestEntry): string {
  if (entry.image === undefined)
    throw new DataError(
      `Expected entries with images, '${entry.id}' has none. Videos cannot be evaluated in this version.`,
    );
  return entry.image;
}

async function inChunks<T>(
  items: readonly T[],
  embed: (part: T[]) => Promise<Matrix>,
  onDone: (done: number) => void,
): Promise<Matrix> {
  let rows: Matrix | undefined;
  for (let begin = 0; begin < items.length; begin += chunk) {
    const part = await embed(items.slice(begin, begin + chunk));
    rows ??= { data: new Float32Array(items.length * part.shape[1]), shape: [items.length, part.shape[1]] };
    rows.data.set(part.data, begin * part.shape[1]);
    onDone(Math.min(begin + chunk, items.length));
  }

  return rows ?? { data: new Float32Array(0), shape: [0, 1] };
}
