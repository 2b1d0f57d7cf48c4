/**
 * JPEGs that the addon decodes by itself, with the system's libjpeg-turbo where the build found one: the pixels that sharp gives, at
 * half the cost. What is not plain (other colors, turned by EXIF, damaged) is left to sharp.
 */
import sharp from 'sharp';
import { binding } from '../binding.js';

/** A JPEG that is not decoded yet. */
export interface PlainJpeg {
  readonly jpeg: Buffer;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
}

/** RGB of the whole image; null where sharp must decode it after all. */
export async function decodePlainJpeg(jpeg: PlainJpeg): Promise<Uint8Array | null> {
  return binding().decodeJpeg({ ...jpeg, shrink: 1 });
}

/** The JPEG in `bytes`, null where sharp must decode it. */
export function plainJpeg(bytes: Buffer, exifRotate: boolean): PlainJpeg | null {
  const header = binding().jpegHeader(bytes);
  if (header === null || (exifRotate && header.orientation > 1)) return null;
  return { jpeg: bytes, width: header.width, height: header.height };
}

/** A JPEG at a part of its size, not decoded yet. */
export interface SmallJpeg extends PlainJpeg {
  /** What both sides are divided by, rounded up: 2, 4 or 8. */
  readonly shrink: number;
  /** EXIF, 1 to 8. */
  readonly orientation: number;
}

/** The JPEG in `bytes` as small as it can be with a shorter side of `least` pixels; null where only its own size will do, and for what is not plain. */
export function smallJpeg(bytes: Buffer, least: number, exifRotate: boolean): SmallJpeg | null {
  const header = binding().jpegHeader(bytes);
  if (header === null) return null;
  const { width, height } = header;
  const shrink = [8, 4, 2].find((by) => Math.min(width, height) >= by * least);
  if (shrink === undefined) return null;
  return { jpeg: bytes, width, height, shrink, orientation: exifRotate ? header.orientation : 1 };
}

/** Its pixels, turned as EXIF says: Pillow's after `draft`. Null where sharp must decode it after all. */
export async function decodeSmallJpeg({ jpeg, width, height, shrink, orientation }: SmallJpeg): Promise<{
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
} | null> {
  const data = await binding().decodeJpeg({ jpeg, width, height, shrink });
  if (data === null) return null;
  const size = { width: Math.ceil(width / shrink), height: Math.ceil(height / shrink) };
  if (orientation === 1) return { data, ...size };
  const { angle, mirrored } = turns[orientation - 1] as Turn;
  const turned = await sharp(data, { raw: { ...size, channels: 3 } })
    .rotate(angle)
    .flop(mirrored)
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { data: turned.data, width: turned.info.width, height: turned.info.height };
}

interface Turn {
  /** Degrees clockwise, after the mirror of left and right. */
  readonly angle: number;
  readonly mirrored: boolean;
}

/** What undoes the EXIF orientations 1 to 8. */
const turns: readonly Turn[] = [
  { angle: 0, mirrored: false },
  { angle: 0, mirrored: true },
  { angle: 180, mirrored: false },
  { angle: 180, mirrored: true },
  { angle: 270, mirrored: true },
  { angle: 90, mirrored: false },
  { angle: 90, mirrored: true },
  { angle: 270, mirrored: false },
];
