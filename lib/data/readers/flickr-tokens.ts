/**
 * Flickr30K's captions (ECOSYSTEM 3.1): its own `results_20130124.token`, lines `1000092795.jpg#0<TAB>Two young guys ...`, and
 * Kaggle's `results.csv`, lines `1000092795.jpg| 0| Two young guys ...` under a header.
 */
import path from 'node:path';
import { show } from '../../checks.js';
import { DataError } from '../../errors.js';
import { fileError } from '../../read-file.js';
import { locate } from '../../remote/location.js';
import { textLines } from '../../text-lines.js';
import type { ManifestEntry } from '../manifest.js';
import { groupBy, mediaFolder } from './fields.js';

interface Line {
  readonly image: string;
  readonly caption: string;
}

/** One entry an image, captions in the file's order, all of split `train`: Karpathy's file has the splits. */
export async function readFlickrTokens(file: string, images: string | null): Promise<ManifestEntry[]> {
  const lines = await readLines(file, /^(\S+)#\d+\t(.+)$/, 'IMAGE#NUMBER, a tab and a caption');
  return entriesOf(lines, file, images);
}

const kaggleHeader = /^image_name\s*\|\s*comment_number\s*\|\s*comment\s*$/;

/** Whether the first line of a CSV file is that of Kaggle's copy. */
export function isFlickrCsv(header: string): boolean {
  return kaggleHeader.test(header);
}

/** As `readFlickrTokens`. Kaggle's own file lacks the second bar in one line (image 2199200615, caption 4), which is read all the same. */
export async function readFlickrCsv(file: string, images: string | null): Promise<ManifestEntry[]> {
  const rule = 'IMAGE| NUMBER| CAPTION';
  const lines = await readLines(file, /^([^|]+?)\s*\|\s*\d+\s*(?:\||\s)\s*(.+)$/, rule, kaggleHeader);
  return entriesOf(lines, file, images);
}

async function readLines(file: string, form: RegExp, rule: string, header?: RegExp): Promise<Line[]> {
  const lines: Line[] = [];
  let number = 0;
  try {
    for await (const line of textLines(file)) {
      number++;
      if (line.trim() === '' || (number === 1 && header?.test(line.replace(/^\uFEFF/, '')))) continue;
      const [, image, caption] = form.exec(line) ?? [];
      if (image === undefined || caption === undefined)
        throw new DataError(
          `Expected line ${number} of ${file} to be ${rule}, got ${show(line)}. Restore the file from its source.`,
        );
      lines.push({ image, caption: caption.trim() });
    }
  } catch (error) {
    throw fileError(error, 'read captions at', file);
  }

  return lines;
}

async function entriesOf(
  lines: readonly Line[],
  file: string,
  images: string | null,
): Promise<ManifestEntry[]> {
  const beside = path.dirname(file);
  const folders = ['flickr30k-images', 'flickr30k_images', 'images', '.'].map((name) =>
    path.join(beside, name),
  );
  const root = await mediaFolder(images, folders, lines[0]?.image ?? '');
  return [...groupBy(lines, ({ image }) => image)].map(([image, group]) => ({
    id: path.parse(image).name,
    image: locate(root, image),
    captions: group.map(({ caption }) => caption),
    split: 'train',
    source: 'flickr30k',
  }));
}
