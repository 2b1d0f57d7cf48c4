/** The picture or clip of an item as a shard takes it: the file as it is, made smaller, or in a form that shards know. */
import { createHash } from 'node:crypto';
import sharp, { type Metadata } from 'sharp';
import { CotsError, ImageError } from '../../errors.js';
import { decodeImage } from '../decode.js';
import type { ManifestEntry } from '../manifest.js';
import { endingOf, readMedia } from '../media.js';

export interface PackedMedia {
  readonly bytes: Buffer;
  /** Without its dot. */
  readonly ending: string;
  readonly sha256: string;
  /** Pixels as packed, and of the source; null of a video. */
  readonly width: number | null;
  readonly height: number | null;
  readonly originalWidth: number | null;
  readonly originalHeight: number | null;
}

const quality = 95;
/** Formats of sharp that WebDataset's readers know by ending. */
const endings: Readonly<Record<string, string>> = { jpeg: 'jpg', png: 'png', webp: 'webp', gif: 'gif' };

/** What is packed of an entry; `side` is the shorter side that larger images are brought to. What is wrong with it instead. */
export async function packedMedia(
  { image, video }: ManifestEntry,
  side: number | null,
): Promise<PackedMedia | CotsError> {
  try {
    return image === undefined ? await videoOf(video as string) : await imageOf(image, side);
  } catch (error) {
    if (error instanceof CotsError) return error;
    throw error;
  }
}

async function videoOf(location: string): Promise<PackedMedia> {
  const bytes = await readMedia(location, 'a video');
  const size = { width: null, height: null, originalWidth: null, originalHeight: null };
  return { bytes, ending: endingOf(location), sha256: hashOf(bytes), ...size };
}

async function imageOf(location: string, side: number | null): Promise<PackedMedia> {
  const source = await readMedia(location, 'an image');
  const { width, height, format } = await headerOf(source, location);
  const original = { originalWidth: width, originalHeight: height };
  const ending = endings[format ?? ''];
  if (side === null && ending !== undefined)
    return { bytes: source, ending, sha256: hashOf(source), width, height, ...original };
  const pixels = await decodeImage(source);
  const image = sharp(pixels.data, { raw: { width: pixels.width, height: pixels.height, channels: 3 } });
  const { data: bytes, info } =
    side === null
      ? await image.png().toBuffer({ resolveWithObject: true })
      : await image
          .resize({ width: side, height: side, fit: 'outside', withoutEnlargement: true })
          .jpeg({ quality })
          .toBuffer({ resolveWithObject: true });
  return {
    bytes,
    ending: side === null ? 'png' : 'jpg',
    sha256: hashOf(bytes),
    width: info.width,
    height: info.height,
    ...original,
  };
}

async function headerOf(bytes: Buffer, location: string): Promise<Metadata> {
  try {
    return await sharp(bytes).metadata();
  } catch (error) {
    const [reason] = (error as Error).message.split('\n');
    throw new ImageError(`Expected ${location} to be an image, got: ${reason}. Mend it or leave it out.`, {
      cause: error,
    });
  }
}

function hashOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
