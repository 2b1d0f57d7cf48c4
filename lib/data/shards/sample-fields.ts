/** Which files of a WebDataset sample are its picture or clip and its captions (ECOSYSTEM 3.2). */
import { DataError } from '../../errors.js';
import { nameOf } from '../../remote/location.js';
import type { TarMember } from './tar-members.js';

/** Endings and fields that a user names; what is not named goes by the usual ones. */
export interface SampleFields {
  /** Ending of the picture, such as `input.jpg`. */
  readonly image?: string | undefined;
  readonly video?: string | undefined;
  /** Ending of a text with a caption a line, or a field of the `.json` file (`a.b` inside another). */
  readonly caption?: string | undefined;
}

/** A sample's files by ending. */
export type SampleFiles = ReadonlyMap<string, TarMember>;

const kinds: Readonly<Record<string, 'image' | 'video'>> = {
  jpg: 'image',
  jpeg: 'image',
  png: 'image',
  webp: 'image',
  gif: 'image',
  mp4: 'video',
  webm: 'video',
  mkv: 'video',
};
/** A caption file of more bytes is no caption. */
const longestText = 1 << 20;

/** WebDataset's rule: the ending begins at the first dot of the last part. */
export function splitMemberName(name: string): [stem: string, ending: string] {
  const base = name.slice(name.lastIndexOf('/') + 1);
  const dot = base.indexOf('.');
  if (dot === -1) return [name, ''];
  return [name.slice(0, name.length - base.length + dot), base.slice(dot + 1).toLowerCase()];
}

/** The picture or clip of a sample; undefined for a sample without. */
export function mediaOf(
  files: SampleFiles,
  { image, video }: SampleFields,
): { media: TarMember; kind: 'image' | 'video' } | undefined {
  for (const [ending, media] of files) {
    if (image === undefined && video === undefined) {
      const kind = Object.hasOwn(kinds, ending) ? kinds[ending] : undefined;
      if (kind !== undefined) return { media, kind };
    } else if (ending === image?.toLowerCase()) return { media, kind: 'image' };
    else if (ending === video?.toLowerCase()) return { media, kind: 'video' };
  }

  return undefined;
}

/** A shard in which no sample has a picture or clip: what it holds, and what was looked for. */
export function noMedia(file: string, seen: Iterable<string>, { image, video }: SampleFields): DataError {
  const given = [image, video].filter((name) => name !== undefined);
  const wanted = given.length > 0 ? given : Object.keys(kinds);
  const listed = [...seen].map((ending) => (ending === '' ? 'no ending' : ending));
  return new DataError(
    `Expected ${nameOf(file)} to hold samples with ${wanted.join(', ')}, got ${listed.length === 0 ? 'no files' : `files of ${listed.slice(0, 20).join(', ')}`}. Give a shard of pictures or clips, or name the ending of its pictures: columns { image: ENDING }, --columns image=ENDING.`,
  );
}

/** Shards in which no sample has a caption, where captions are needed. */
export function noCaptions(file: string, seen: Iterable<string>, { caption }: SampleFields): DataError {
  return new DataError(
    `Expected the samples of ${nameOf(file)} to have captions in ${caption ?? '.txt, or `caption` or `captions` of .json'}, got files of ${[...seen].join(', ')} without. Name the ending or the field of .json that holds them: columns { caption: NAME }, --columns caption=NAME.`,
  );
}

/** The captions of a sample: by the name given, else `captions` or `caption` of the JSON file, else the lines of the text file. */
export async function captionsOf(
  files: SampleFiles,
  { caption }: SampleFields,
  read: (member: TarMember) => Promise<string>,
): Promise<string[]> {
  const named = caption === undefined ? undefined : files.get(caption.toLowerCase());
  if (named !== undefined && caption?.toLowerCase() !== 'json') return linesOf(await read(named));
  const json = files.get('json');
  if (json !== undefined) {
    const fields = parseFields(await read(json), json);
    const given =
      caption === undefined ? (fields['captions'] ?? fields['caption']) : fieldOf(fields, caption);
    if (typeof given === 'string') return [given];
    if (Array.isArray(given) && given.every((one) => typeof one === 'string')) return given;
  }

  const txt = files.get('txt');
  return txt === undefined || caption !== undefined ? [] : linesOf(await read(txt));
}

/** Throws `ERR_COTS_DATA` for a text that is too long to be one. */
export function checkText({ name, size }: TarMember, file: string): void {
  if (size <= longestText) return;
  throw new DataError(
    `Expected ${name} of ${nameOf(file)} to be at most ${longestText} bytes of text, got ${size}. Restore the file from its source.`,
  );
}

function linesOf(text: string): string[] {
  return text.split(/\r?\n/).filter((line) => line.trim() !== '');
}

function fieldOf(fields: Record<string, unknown>, dotted: string): unknown {
  if (Object.hasOwn(fields, dotted)) return fields[dotted];
  return dotted
    .replace(/^json\./, '')
    .split('.')
    .reduce<unknown>((value, part) => (value as Record<string, unknown> | null | undefined)?.[part], fields);
}

function parseFields(text: string, { name }: TarMember): Record<string, unknown> {
  try {
    return (JSON.parse(text) ?? {}) as Record<string, unknown>;
  } catch (error) {
    throw new DataError(`Expected ${name} to be JSON, got: ${(error as Error).message}.`, { cause: error });
  }
}
