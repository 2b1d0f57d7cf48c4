/** Looks at every entry of a data set before a long run: files, duplicates, leaks between splits, captions. */
import { createHash } from 'node:crypto';
import { CotsError } from '../../errors.js';
import { isMissing } from '../../read-file.js';
import { videoSource } from '../../video/video-source.js';
import { ByteBudget } from '../byte-budget.js';
import { decodeBytes } from '../decode.js';
import type { ManifestEntry } from '../manifest.js';
import { readMedia } from '../media.js';
import type { CaptionRules } from '../text/captions.js';
import type { TextTokenizer } from '../text/tokenizer.js';
import { type CaptionFacts, captionFacts, mostExamples } from './caption-facts.js';
import { fingerprint } from './fingerprint.js';
import { ImageSizes, type SizeFacts } from './image-sizes.js';
import { NearDuplicates, nearRule } from './near-duplicates.js';

/** An entry in an example. */
export interface Example {
  readonly id: string;
  readonly split: string;
  readonly location: string;
  readonly caption: string;
}

export interface CheckReport {
  readonly entries: number;
  readonly splits: Readonly<Record<string, number>>;
  readonly files: {
    readonly good: number;
    /** No file of that name. */
    readonly missing: number;
    /** There, and not to be read or decoded. */
    readonly unreadable: number;
    readonly examples: readonly { readonly id: string; readonly code: string; readonly message: string }[];
  };
  readonly ids: { readonly duplicates: number; readonly examples: readonly string[] };
  readonly duplicates: {
    readonly rule: string;
    readonly groups: number;
    /** Images beyond the first of each group. */
    readonly images: number;
    /** Comparisons left out among pictures whose hashes are too common. */
    readonly comparisonsSkipped: number;
    readonly examples: readonly (readonly Example[])[];
  };
  /** Groups of duplicates with images of more than one split. */
  readonly leaks: {
    readonly groups: number;
    readonly images: Readonly<Record<string, number>>;
    readonly examples: readonly (readonly Example[])[];
  };
  readonly sizes: SizeFacts | null;
  readonly captions: CaptionFacts;
}

export interface CheckOptions {
  readonly tokenizer: TextTokenizer;
  readonly rules: CaptionRules;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number) => void) | undefined;
}

const atOnce = 8;
/** Decoded bytes of images in work. */
const workBytes = 512 * 2 ** 20;

const rule = `equal bytes; or of imagehash.dhash (8 x 8) at most ${nearRule.bits} of 64 bits differ and the 8 x 8 color thumbnails by at most ${nearRule.levels} of 255 levels on average`;

/** Throws `signal.reason`; what is wrong with an entry is in the report. */
export async function checkDataset(
  entries: readonly ManifestEntry[],
  { tokenizer, rules, signal, onProgress }: CheckOptions,
): Promise<CheckReport> {
  const scan = new Scan(entries);
  for (let from = 0; from < entries.length; from += atOnce) {
    signal?.throwIfAborted();
    const found = await Promise.all(entries.slice(from, from + atOnce).map((entry) => scan.look(entry)));
    for (const [index, result] of found.entries()) scan.add(from + index, result);
    onProgress?.(Math.min(from + atOnce, entries.length));
  }

  return {
    entries: entries.length,
    splits: countBy(entries, ({ split }) => split),
    ids: duplicateIds(entries),
    ...scan.report(),
    captions: captionFacts(entries, tokenizer, rules),
  };
}

type Look = Awaited<ReturnType<Scan['look']>>;

class Scan {
  readonly #entries: readonly ManifestEntry[];
  readonly #budget = new ByteBudget(workBytes);
  readonly #near = new NearDuplicates();
  /** Entry of each picture of `#near`. */
  readonly #pictures: number[] = [];
  readonly #sizes = new ImageSizes();
  readonly #examples: CheckReport['files']['examples'][number][] = [];
  #good = 0;
  #missing = 0;
  #unreadable = 0;

  constructor(entries: readonly ManifestEntry[]) {
    this.#entries = entries;
  }

  /** What is known of an image; null of a video, which is looked for and not decoded; what is wrong instead. */
  async look({ image, video }: ManifestEntry) {
    let held = 0;
    try {
      if (image === undefined) {
        await videoSource(video as string);
        return null;
      }

      const bytes = await readMedia(image, 'an image');
      const decoded = await decodeBytes(bytes, image, true, async (decodedBytes) => {
        await this.#budget.acquire(decodedBytes);
        held = decodedBytes;
      });
      const content = createHash('sha256').update(bytes).digest('base64url').slice(0, 22);
      const { width, height } = decoded;
      return { content, width, height, print: await fingerprint(decoded) };
    } catch (error) {
      if (error instanceof CotsError) return error;
      throw error;
    } finally {
      if (held > 0) this.#budget.release(held);
    }
  }

  add(index: number, found: Look): void {
    if (found instanceof CotsError) {
      if (isMissing(found)) this.#missing++;
      else this.#unreadable++;
      const { id } = this.#entries[index] as ManifestEntry;
      if (this.#examples.length < mostExamples)
        this.#examples.push({ id, code: found.code, message: found.message });
      return;
    }

    this.#good++;
    if (found === null) return;
    this.#sizes.add(found.width, found.height);
    this.#near.add(found.content, found.print);
    this.#pictures.push(index);
  }

  report(): Pick<CheckReport, 'files' | 'duplicates' | 'leaks' | 'sizes'> {
    const groups = this.#near.groups().map((group) => group.map((picture) => this.#entryOf(picture)));
    const leaks = groups.filter((group) => new Set(group.map(({ split }) => split)).size > 1);
    const examples = (some: ManifestEntry[][]) =>
      some.slice(0, mostExamples).map((group) => group.slice(0, 8).map(exampleOf));
    return {
      files: {
        good: this.#good,
        missing: this.#missing,
        unreadable: this.#unreadable,
        examples: this.#examples,
      },
      duplicates: {
        rule,
        groups: groups.length,
        images: groups.reduce((sum, group) => sum + group.length - 1, 0),
        comparisonsSkipped: this.#near.skipped,
        examples: examples(groups),
      },
      leaks: {
        groups: leaks.length,
        images: countBy(leaks.flat(), ({ split }) => split),
        examples: examples(leaks),
      },
      sizes: this.#sizes.facts(),
    };
  }

  #entryOf(picture: number): ManifestEntry {
    return this.#entries[this.#pictures[picture] as number] as ManifestEntry;
  }
}

function exampleOf({ id, split, image, video, captions }: ManifestEntry): Example {
  return { id, split, location: (image ?? video) as string, caption: captions[0] ?? '' };
}

function duplicateIds(entries: readonly ManifestEntry[]): CheckReport['ids'] {
  const repeated = Object.entries(countBy(entries, ({ id }) => id)).filter(([, count]) => count > 1);
  return {
    duplicates: repeated.reduce((sum, [, count]) => sum + count - 1, 0),
    examples: repeated.slice(0, mostExamples).map(([id]) => id),
  };
}

function countBy<T>(items: Iterable<T>, key: (item: T) => string): Record<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(key(item), (counts.get(key(item)) ?? 0) + 1);
  return Object.fromEntries(counts);
}
