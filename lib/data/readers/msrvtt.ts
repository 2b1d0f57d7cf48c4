/**
 * MSR-VTT (ECOSYSTEM 3.1): `MSRVTT_data.json`, the annotations of Frozen-in-Time (`MSR_VTT.json`), and the lists of the 1k-A
 * protocol: `MSRVTT_JSFUSION_test.csv` (a caption a video) and `MSRVTT_train.9k.csv` (ids whose captions the JSON beside has), and
 * Frozen-in-Time's `train_list_jsfusion.txt` and `val_list_jsfusion.txt`.
 */
import path from 'node:path';
import { show } from '../../checks.js';
import { DataError } from '../../errors.js';
import { exists, isMissing, readJson, readText } from '../../read-file.js';
import { locate } from '../../remote/location.js';
import type { ManifestEntry } from '../manifest.js';
import { groupBy, mediaFolder, wrongField } from './fields.js';
import type { Row } from './table.js';

interface Sentence {
  readonly video_id: string;
  readonly caption: string;
}

interface MsrvttFile {
  readonly videos?: readonly { readonly video_id: string; readonly split?: string }[];
  readonly sentences: readonly Sentence[];
}

interface FrozenFile {
  readonly annotations: readonly { readonly image_id: string; readonly caption: string }[];
}

export function isMsrvtt(value: unknown): value is MsrvttFile | FrozenFile {
  const { sentences, annotations } = (value ?? {}) as Record<string, unknown>;
  if (Array.isArray(sentences)) return true;
  const [first] = (Array.isArray(annotations) ? annotations : []) as { image_id?: unknown }[];
  return typeof first?.image_id === 'string'; // COCO's ids are numbers
}

/** One entry a video with its captions in order; a video without a split in the file is `train`. */
export async function msrvttEntries(
  value: MsrvttFile | FrozenFile,
  file: string,
  videos: string | null,
): Promise<ManifestEntry[]> {
  const sentences = sentencesOf(value, file);
  const splits = new Map(
    ('videos' in value ? (value.videos ?? []) : []).map(({ video_id, split }) => [video_id, split]),
  );
  const groups = [...groupBy(sentences, ({ video_id }) => video_id)];
  const pathOf = await videoPaths(file, videos, groups[0]?.[0] ?? '');
  return groups.map(([id, group]) => ({
    id,
    video: pathOf(id),
    captions: group.map(({ caption }) => caption),
    split: nameOfSplit(splits.get(id)),
    source: 'msrvtt',
  }));
}

/** Whether a table lists videos as the 1k-A files do. */
export function isMsrvttList(rows: readonly Row[]): boolean {
  const [first] = rows;
  return first !== undefined && 'video_id' in first && !('video' in first) && !('image' in first);
}

/** Rows of a 1k-A list: `video_id` and `sentence` (test), or `video_id` alone (train). */
export async function msrvttListEntries(
  rows: readonly Row[],
  file: string,
  videos: string | null,
): Promise<ManifestEntry[]> {
  const ids = rows.map(({ video_id }, index) => {
    if (typeof video_id !== 'string' || video_id === '')
      throw wrongField(file, `row ${index + 1}`, '`video_id`', video_id);
    return video_id;
  });
  const pathOf = await videoPaths(file, videos, ids[0] ?? '');
  const isTest = rows[0] !== undefined && 'sentence' in rows[0];
  const captions = isTest
    ? new Map(rows.map(({ sentence }, index) => [ids[index] as string, [String(sentence)]]))
    : (await captionsBeside(file)).captions;
  return ids.map((id) => ({
    id,
    video: pathOf(id),
    captions: captions.get(id) ?? [],
    split: isTest ? 'test' : 'train',
    source: 'msrvtt',
  }));
}

/** Whether a text file is one of Frozen-in-Time's lists: `train_list_jsfusion.txt`, `val_list_full.txt`. */
export function isFrozenList(file: string): boolean {
  return /^(train|val|test)_list_\w+\.txt$/.test(path.basename(file));
}

const indexName = 'jsfusion_val_caption_idx';

/**
 * Video ids, one a line, whose captions `MSR_VTT.json` has. Of `val_list_jsfusion.txt`, which is the test set of 1k-A, each video has
 * the one caption that `jsfusion_val_caption_idx.json` (`{"video7010": 3, ...}`) beside the captions names.
 */
export async function frozenListEntries(file: string, videos: string | null): Promise<ManifestEntry[]> {
  const ids = (await readText(file, 'a list of videos')).split(/\r?\n/).filter((line) => line.trim() !== '');
  const [name = ''] = path.basename(file).split('_');
  const isProtocol = path.basename(file) === 'val_list_jsfusion.txt';
  const { captions, folder } = await captionsBeside(file);
  const chosen = isProtocol ? await captionIndex(folder, file) : undefined;
  const pathOf = await videoPaths(file, videos, ids[0] ?? '');
  return ids.map((id) => {
    const all = captions.get(id) ?? [];
    const one = chosen?.[id];
    if (chosen !== undefined && (one === undefined || all[one] === undefined))
      throw wrongField(
        path.join(folder, `${indexName}.json`),
        show(id),
        'the number of one of its captions',
        one,
      );
    return {
      id,
      video: pathOf(id),
      captions: one === undefined ? all : [all[one] as string],
      split: isProtocol ? 'test' : name,
      source: 'msrvtt',
    };
  });
}

async function captionIndex(folder: string, list: string): Promise<Readonly<Record<string, number>>> {
  const file = path.join(folder, `${indexName}.json`);
  const value = await readJson(file, 'ERR_COTS_DATA').catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  if (value !== undefined) return value as Record<string, number>;
  throw new DataError(
    `Expected ${file}, which says the one caption of each video of ${list}, got none. Convert the pickle, which is never read here: python -c "import json, pickle; json.dump(pickle.load(open('${indexName}.pkl', 'rb')), open('${indexName}.json', 'w'))". Or take MSRVTT_JSFUSION_test.csv.`,
  );
}

const annotationNames = ['MSRVTT_data.json', 'MSR_VTT.json'];

/** The captions of the annotations beside a list, or in `annotation/` there or up to two folders above. */
async function captionsBeside(file: string): Promise<{ captions: Map<string, string[]>; folder: string }> {
  const beside = path.resolve(path.dirname(file));
  const folders = [beside, path.dirname(beside), path.dirname(path.dirname(beside))].flatMap((folder) => [
    folder,
    path.join(folder, 'annotation'),
  ]);
  for (const folder of folders) {
    for (const name of annotationNames) {
      const found = path.join(folder, name);
      if (!(await exists(found))) continue;
      const value = (await readJson(found, 'ERR_COTS_DATA')) as MsrvttFile;
      const groups = groupBy(sentencesOf(value, found), ({ video_id }) => video_id);
      const captions = [...groups].map(([id, group]) => [id, group.map(({ caption }) => caption)] as const);
      return { captions: new Map(captions), folder };
    }
  }

  throw new DataError(
    `Expected ${annotationNames.join(' or ')} beside ${file}, which lists videos without captions, got neither. Put it there.`,
  );
}

function sentencesOf(value: MsrvttFile | FrozenFile, file: string): Sentence[] {
  const list: readonly unknown[] = 'sentences' in value ? value.sentences : value.annotations;
  return list.map((item, index) => {
    const { video_id, image_id, caption } = (item ?? {}) as Record<string, unknown>;
    const id = video_id ?? image_id;
    if (typeof id !== 'string') throw wrongField(file, `sentence ${index}`, '`video_id`', id);
    if (typeof caption !== 'string') throw wrongField(file, `sentence ${index}`, '`caption`', caption);
    return { video_id: id, caption };
  });
}

/** The file of a video: `videos/all/ID.mp4` and other usual folders, the one that holds the first video. */
async function videoPaths(
  file: string,
  videos: string | null,
  sample: string,
): Promise<(id: string) => string> {
  const beside = path.dirname(file);
  const above = path.dirname(path.resolve(beside));
  const folders = ['videos/all', 'videos', 'all', 'TrainValVideo', '.'].flatMap((name) => [
    path.join(beside, name),
    path.join(above, name),
    path.join(path.dirname(above), name),
  ]);
  const root = await mediaFolder(videos, folders, `${sample}.mp4`);
  return (id) => locate(root, `${id}.mp4`);
}

function nameOfSplit(split: string | undefined): string {
  return split === undefined ? 'train' : split === 'validate' ? 'val' : split;
}
