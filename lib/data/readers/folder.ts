/** A folder of images, or of videos, with captions: `name.jpg` beside `name.txt` (a caption a line), or `captions.jsonl`. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { DataError } from '../../errors.js';
import { fileError, isMissing, readText } from '../../read-file.js';
import type { ManifestEntry } from '../manifest.js';

const videoEndings = [
  '.mp4',
  '.m4v',
  '.mov',
  '.webm',
  '.mkv',
  '.avi',
  '.mpg',
  '.mpeg',
  '.ts',
  '.ogv',
  '.flv',
  '.wmv',
];

/** Whether a name's ending is that of a video; a GIF is taken for an image. */
export function isVideoFile(name: string): boolean {
  return videoEndings.includes(path.extname(name).toLowerCase());
}

function isImageFile(name: string): boolean {
  return imageEndings.includes(path.extname(name).toLowerCase());
}

const imageEndings = ['.jpg', '.jpeg', '.png', '.webp', '.gif', '.tif', '.tiff', '.avif'];

/** Name of the file with the captions of a folder: lines {"image", "captions"} or {"image", "caption"}. */
export const captionsFile = 'captions.jsonl';

/**
 * Reads a folder and the folders in it, sorted by name: its images, or its videos where it has no image. An entry's id is the path
 * in the folder without its ending. One without captions has an empty list. Throws `ERR_COTS_DATA` for a folder with neither.
 */
export async function readFolder(folder: string, media: string | null): Promise<ManifestEntry[]> {
  const root = media ?? folder;
  const names = await namesIn(root);
  const isOfVideos = !names.some(isImageFile) && names.some(isVideoFile);
  return entriesOf(folder, root, isOfVideos ? 'video' : 'image');
}

/** The same of the videos in a folder. */
export async function readVideoFolder(folder: string): Promise<ManifestEntry[]> {
  return entriesOf(folder, folder, 'video');
}

async function entriesOf(folder: string, root: string, kind: 'image' | 'video'): Promise<ManifestEntry[]> {
  const names = await listMedia(root, kind);
  const given = await readCaptions(path.join(folder, captionsFile));
  const entries: ManifestEntry[] = [];
  const ids = new Set<string>();
  for (const name of names) {
    const stem = name.slice(0, -path.extname(name).length);
    const id = ids.has(stem) ? name : stem;
    ids.add(id);
    const captions =
      given?.get(name) ?? given?.get(stem) ?? (await siblingCaptions(path.join(root, `${stem}.txt`)));
    entries.push({
      id,
      [kind]: path.resolve(root, name),
      captions,
      split: 'train',
      source: path.basename(folder),
    });
  }

  return entries;
}

/** Paths of files of a kind in a folder and the folders in it, in code unit order. Throws `ERR_COTS_DATA` for none. */
async function listMedia(root: string, kind: 'image' | 'video'): Promise<string[]> {
  const names = (await namesIn(root)).filter(kind === 'image' ? isImageFile : isVideoFile).sort();
  if (names.length > 0) return names;
  const endings = kind === 'image' ? imageEndings : videoEndings;
  throw new DataError(
    `Expected ${root} to hold ${kind}s (${endings.join(', ')}), got none. Name another folder, or put some there.`,
  );
}

async function namesIn(root: string): Promise<string[]> {
  return readdir(root, { recursive: true }).catch((error: unknown) => {
    throw fileError(error, 'read a folder of images or videos at', root);
  });
}

async function siblingCaptions(file: string): Promise<string[]> {
  const text = await readText(file, 'captions').catch((error: unknown) => {
    if (isMissing(error)) return '';
    throw error;
  });
  return text.split(/\r?\n/).filter((line) => line.trim() !== '');
}

/** Captions by image path; undefined without the file. */
async function readCaptions(file: string): Promise<Map<string, string[]> | undefined> {
  const text = await readText(file, 'captions').catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  const captions = new Map<string, string[]>();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    const { image, texts } = parseLine(line, `line ${index + 1} of ${file}`);
    captions.set(image, [...(captions.get(image) ?? []), ...texts]);
  }

  return captions;
}

function parseLine(line: string, where: string): { image: string; texts: string[] } {
  let value: { image?: unknown; captions?: unknown; caption?: unknown } | null = null;
  try {
    value = JSON.parse(line);
  } catch {
    // Told below with the rule.
  }

  const texts = value?.captions ?? (value?.caption === undefined ? undefined : [value.caption]);
  if (
    typeof value?.image !== 'string' ||
    !Array.isArray(texts) ||
    !texts.every((text) => typeof text === 'string')
  ) {
    throw new DataError(
      `Expected ${where} to be {"image": "a.jpg", "captions": ["..."]}, got '${line.slice(0, 80)}'. Correct that line.`,
    );
  }

  return { image: path.normalize(value.image), texts };
}
