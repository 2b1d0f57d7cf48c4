/** The manifest: the one internal form of a data set, JSON lines (DESIGN 5). */
import { nearest, show } from '../checks.js';
import { DataError } from '../errors.js';
import { fileError } from '../read-file.js';
import { locate } from '../remote/location.js';
import { textLines } from '../text-lines.js';
import { writeFileAtomic } from '../write-file.js';

/** One image or video with its captions. Fields that are not listed here pass through reading and writing. */
export interface ManifestEntry {
  /** Unique in the data set. */
  readonly id: string;
  /** Path of the image, relative to the manifest's folder unless absolute, or a URL. Exactly one of image and video is there. */
  readonly image?: string;
  readonly video?: string;
  readonly captions: readonly string[];
  /** `train`, `val`, `test` or any other name. @default 'train' */
  readonly split: string;
  /** Where the entry came from, such as `coco`. @default '' */
  readonly source: string;
  /** Times the entry is drawn an epoch, on average. @default 1 */
  readonly weight?: number;
  /** Truth of a made data set: the captions belong to another image. */
  readonly mismatched?: boolean;
  readonly [extra: string]: unknown;
}

/** What must hold of the entries beyond their form. */
export interface ManifestRules {
  /** Each entry has a caption that is not blank, as training needs. @default true */
  readonly captions?: boolean;
  /** Two entries may have one id. @default false */
  readonly duplicateIds?: boolean;
  /** Folder that image and video paths are made absolute with; null: they stay as they are. @default null */
  readonly root?: string | null;
}

/** Where an entry was read, for messages. */
const places = new WeakMap<ManifestEntry, string>();

const fields = ['id', 'image', 'video', 'captions', 'split', 'source', 'weight', 'mismatched'];

/** Reads a manifest. Throws `ERR_COTS_DATA` with the line's number, `ERR_COTS_FILE`. */
export async function readManifest(file: string, rules: ManifestRules = {}): Promise<ManifestEntry[]> {
  const entries: ManifestEntry[] = [];
  let number = 0;
  try {
    for await (const line of textLines(file)) {
      number++;
      const text = number === 1 && line.startsWith('\uFEFF') ? line.slice(1) : line;
      if (text.trim() === '') continue;
      const place = `line ${number} of ${file}`;
      const entry = resolvePaths(parseEntry(text, place), rules.root ?? null);
      places.set(entry, place);
      entries.push(entry);
    }
  } catch (error) {
    throw fileError(error, 'read a manifest at', file);
  }

  if (entries.length === 0)
    throw new DataError(
      `Expected ${file} to hold an entry a line, got none. Write lines such as ${example}.`,
    );
  checkEntries(entries, file, rules);
  return entries;
}

/** Writes entries, one a line. Throws `ERR_COTS_FILE`. */
export async function writeManifest(file: string, entries: Iterable<ManifestEntry>): Promise<void> {
  const lines: string[] = [];
  for (const entry of entries) lines.push(JSON.stringify(entry));
  await writeFileAtomic(file, `${lines.join('\n')}\n`);
}

/** Duplicate ids and missing captions. `where` names the data set. */
export function checkEntries(
  entries: readonly ManifestEntry[],
  where: string,
  { captions = true, duplicateIds = false }: ManifestRules,
): void {
  const seen = new Map<string, ManifestEntry>();
  for (const entry of entries) {
    const place = placeOf(entry, where);
    const twin = seen.get(entry.id);
    if (twin !== undefined && !duplicateIds) {
      throw new DataError(
        `Expected every id of ${where} once, got ${show(entry.id)} at ${place} and at ${placeOf(twin, where)}. Put all captions of an image on one line.`,
      );
    }

    seen.set(entry.id, entry);
    if (!captions) continue;
    if (entry.captions.length === 0) {
      throw new DataError(`Expected a caption at ${place}, got none. Add one, or leave the entry out.`);
    }

    if (entry.captions.some((caption) => caption.trim() === '')) {
      throw new DataError(
        `Expected captions with words at ${place}, got an empty one. Write it, or leave it out.`,
      );
    }
  }
}

function placeOf(entry: ManifestEntry, where: string): string {
  return places.get(entry) ?? `entry ${show(entry.id)} of ${where}`;
}

function resolvePaths(entry: ManifestEntry, root: string | null): ManifestEntry {
  if (root === null) return entry;
  const { image, video } = entry;
  return {
    ...entry,
    ...(image !== undefined && { image: locate(root, image) }),
    ...(video !== undefined && { video: locate(root, video) }),
  };
}

const example = '{"id": "1", "image": "images/1.jpg", "captions": ["a red bus"], "split": "train"}';

function parseEntry(text: string, where: string): ManifestEntry {
  const value = parseJson(text, where);
  const wrong = (rule: string, got: unknown) =>
    new DataError(`Expected ${where} to have ${rule}, got ${show(got)}. A line is such as ${example}.`);
  const { id, image, video, captions, split = 'train', source = '', weight, mismatched } = value;
  if (typeof id !== 'string' || id === '') throw wrong('an `id` (text that is not empty)', id);
  if ((image === undefined) === (video === undefined)) {
    if (image !== undefined) throw wrong('either an `image` or a `video`', 'both');
    const near = Object.keys(value).find(
      (key) => !fields.includes(key) && nearest(key, ['image', 'video']) !== undefined,
    );
    throw wrong('an `image` or a `video`', near === undefined ? undefined : `the field ${near}`);
  }

  for (const field of ['captions', 'split'] as const) {
    const near = Object.keys(value).find((key) => !fields.includes(key) && nearest(key, [field]) === field);
    if (value[field] === undefined && near !== undefined) throw wrong(`\`${field}\``, `the field ${near}`);
  }

  const media = image ?? video;
  if (typeof media !== 'string' || media === '')
    throw wrong(`\`${image === undefined ? 'video' : 'image'}\` as a path`, media);
  if (captions !== undefined && !isTexts(captions)) throw wrong('`captions` as a list of texts', captions);
  if (typeof split !== 'string' || split === '') throw wrong('`split` as a name', split);
  if (typeof source !== 'string') throw wrong('`source` as text', source);
  if (weight !== undefined && !(typeof weight === 'number' && weight >= 0 && weight <= 1e6))
    throw wrong('`weight` as a number from 0 to 1000000', weight);
  if (mismatched !== undefined && typeof mismatched !== 'boolean')
    throw wrong('`mismatched` as true or false', mismatched);
  return { ...value, id, captions: captions ?? [], split, source };
}

function parseJson(text: string, where: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new DataError(`Expected ${where} to be JSON, got ${show(text)}. A line is such as ${example}.`, {
      cause: error,
    });
  }

  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new DataError(
      `Expected ${where} to be a JSON object, got ${show(value)}. A line is such as ${example}.`,
    );
  }

  return value as Record<string, unknown>;
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
