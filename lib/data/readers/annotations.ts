/** Annotation files in JSON, told apart by what they hold: Karpathy, BLIP/ALBEF, COCO captions, MSR-VTT (ECOSYSTEM 3.1). */
import { show } from '../../checks.js';
import { DataError } from '../../errors.js';
import { readText } from '../../read-file.js';
import type { ManifestEntry } from '../manifest.js';
import { blipEntries, isBlip } from './blip.js';
import { cocoEntries, isCoco } from './coco-captions.js';
import { isKarpathy, karpathyEntries } from './karpathy.js';
import { isMsrvtt, msrvttEntries } from './msrvtt.js';

export type JsonKind = 'karpathy' | 'blip' | 'coco-captions' | 'msrvtt';

/**
 * Reads an annotation file; `images` is the folder that its paths are relative to (see each reader for its default).
 * Throws `ERR_COTS_DATA` for JSON of no known form or an item that lacks a field, `ERR_COTS_FILE`.
 */
export async function readAnnotations(
  file: string,
  images: string | null,
): Promise<{ kind: JsonKind; entries: ManifestEntry[] }> {
  const value = parse(await readText(file, 'an annotation file'), file);
  if (isKarpathy(value)) return { kind: 'karpathy', entries: karpathyEntries(value, file, images) };
  if (isMsrvtt(value)) return { kind: 'msrvtt', entries: await msrvttEntries(value, file, images) };
  if (isCoco(value)) return { kind: 'coco-captions', entries: await cocoEntries(value, file, images) };
  if (isBlip(value)) return { kind: 'blip', entries: blipEntries(value, file, images) };
  throw new DataError(
    `Expected ${file} to be a Karpathy file ({"images": [{"filename", "split", "sentences"}]}), BLIP's or ALBEF's rows ([{"image", "caption"}]), COCO captions ({"images", "annotations"}) or MSR-VTT ({"videos", "sentences"}), got ${describe(value)}. A manifest ends in .jsonl.`,
  );
}

function parse(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new DataError(
      `Expected ${file} to be JSON, got: ${(error as Error).message}. Restore it from its source.`,
      { cause: error },
    );
  }
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : `a list of ${describe(value[0])}`;
  if (typeof value !== 'object' || value === null) return show(value);
  return `an object with ${Object.keys(value).slice(0, 6).join(', ') || 'no fields'}`;
}
