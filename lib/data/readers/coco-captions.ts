/** COCO's own caption files, `captions_train2014.json` (ECOSYSTEM 3.1). Their val split is not Karpathy's. */
import path from 'node:path';
import { DataError } from '../../errors.js';
import { locate } from '../../remote/location.js';
import type { ManifestEntry } from '../manifest.js';
import { groupBy, mediaFolder, splitOfName, wrongField } from './fields.js';

interface CocoFile {
  readonly images: readonly { readonly id: number; readonly file_name: string }[];
  readonly annotations: readonly { readonly image_id: number; readonly caption: string }[];
}

export function isCoco(value: unknown): value is CocoFile {
  const { images, annotations } = (value ?? {}) as Partial<CocoFile>;
  return Array.isArray(images) && Array.isArray(annotations) && images.length > 0;
}

/**
 * One entry an image, ids `coco_391895` as Karpathy's, captions in the file's order. Images are looked for in `images`, else
 * beside the file, in `train2014/` (the second half of the file's name) there and above, and in `images/` of either.
 */
export async function cocoEntries(
  { images: list, annotations }: CocoFile,
  file: string,
  images: string | null,
): Promise<ManifestEntry[]> {
  for (const [index, { id, file_name }] of list.entries()) {
    if (typeof id !== 'number') throw wrongField(file, `image ${index}`, '`id` as a number', id);
    if (typeof file_name !== 'string') throw wrongField(file, `image ${index}`, '`file_name`', file_name);
  }

  const known = new Set(list.map(({ id }) => id));
  for (const [index, { image_id, caption }] of annotations.entries()) {
    if (typeof caption !== 'string') throw wrongField(file, `annotation ${index}`, '`caption`', caption);
    if (!known.has(image_id))
      throw wrongField(file, `annotation ${index}`, '`image_id` of an image of the file', image_id);
  }

  const captions = groupBy(annotations, ({ image_id }) => String(image_id));
  const root = await mediaFolder(images, folders(file), list[0]?.file_name as string);
  const entries = list.map(({ id, file_name }) => ({
    id: `coco_${id}`,
    image: locate(root, file_name),
    captions: (captions.get(String(id)) ?? []).map(({ caption }) => caption),
    split: splitOfName(file),
    source: 'coco',
  }));
  const bare = entries.filter(({ captions: texts }) => texts.length === 0).length;
  if (bare === entries.length)
    throw new DataError(
      `Expected ${file} to have captions for its images, got none. Take captions_*.json, not instances_*.json.`,
    );
  return entries;
}

function folders(file: string): string[] {
  const beside = path.dirname(file);
  const above = path.dirname(path.resolve(beside));
  const name = path.parse(file).name.replace(/^[a-z]+_/, '');
  return [
    beside,
    ...[beside, above].flatMap((base) => [path.join(base, name), path.join(base, 'images', name)]),
  ];
}
