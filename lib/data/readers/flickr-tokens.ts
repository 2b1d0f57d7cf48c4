/** Flickr30K's own captions: `results_20130124.token`, lines `1000092795.jpg#0<TAB>Two young guys ...` (ECOSYSTEM 3.1). */
import path from 'node:path';
import { show } from '../../checks.js';
import { DataError } from '../../errors.js';
import { fileError } from '../../read-file.js';
import { textLines } from '../../text-lines.js';
import type { ManifestEntry } from '../manifest.js';
import { groupBy, mediaFolder } from './fields.js';

/** One entry an image, captions in the file's order, all of split `train`: Karpathy's file has the splits. */
export async function readFlickrTokens(file: string, images: string | null): Promise<ManifestEntry[]> {
  const lines: { image: string; caption: string }[] = [];
  let number = 0;
  try {
    for await (const line of textLines(file)) {
      number++;
      if (line.trim() === '') continue;
      const [, image, caption] = /^(\S+)#\d+\t(.+)$/.exec(line) ?? [];
      if (image === undefined || caption === undefined)
        throw new DataError(
          `Expected line ${number} of ${file} to be IMAGE#NUMBER, a tab and a caption, got ${show(line)}. Restore the file from its source.`,
        );
      lines.push({ image, caption: caption.trim() });
    }
  } catch (error) {
    throw fileError(error, 'read captions at', file);
  }

  const beside = path.dirname(file);
  const folders = ['flickr30k-images', 'flickr30k_images', 'images', '.'].map((name) =>
    path.join(beside, name),
  );
  const root = await mediaFolder(images, folders, lines[0]?.image ?? '');
  return [...groupBy(lines, ({ image }) => image)].map(([image, group]) => ({
    id: path.parse(image).name,
    image: path.resolve(root, image),
    captions: group.map(({ caption }) => caption),
    split: 'train',
    source: 'flickr30k',
  }));
}
