/**
 * MSR-VTT (ECOSYSTEM 3.1): `MSRVTT_data.json`, the annotations of Frozen-in-Time (`MSR_VTT.json`), and the lists of the 1k-A
 * protocol, `MSRVTT_JSFUSION_test.csv` (a caption a video) and `MSRVTT_train.9k.csv` (ids whose captions the JSON beside has).
 */
import path from 'node:path';
import { DataError } from '../../errors.js';
import { isMissing, readJson } from '../../read-file.js';
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
    : await captionsBeside(file);
  return ids.map((id) => ({
    id,
    video: pathOf(id),
    captions: captions.get(id) ?? [],
    split: isTest ? 'test' : 'train',
    source: 'msrvtt',
  }));
}

const annotationNames = ['MSRVTT_data.json', 'MSR_VTT.json'];

async function captionsBeside(file: string): Promise<Map<string, string[]>> {
  const folder = path.dirname(file);
  for (const name of annotationNames) {
    const beside = path.join(folder, name);
    const value = await readJson(beside, 'ERR_COTS_DATA').catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw error;
    });
    if (value === undefined) continue;
    const groups = groupBy(sentencesOf(value as MsrvttFile, beside), ({ video_id }) => video_id);
    return new Map([...groups].map(([id, group]) => [id, group.map(({ caption }) => caption)]));
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
  ]);
  const root = await mediaFolder(videos, folders, `${sample}.mp4`);
  return (id) => path.resolve(root, `${id}.mp4`);
}

function nameOfSplit(split: string | undefined): string {
  return split === undefined ? 'train' : split === 'validate' ? 'val' : split;
}
