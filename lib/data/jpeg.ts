/**
 * JPEGs that the addon decodes by itself, with the system's libjpeg-turbo where the build found one: only the crop of a sample
 * becomes pixels, the same ones that sharp gives. What is not plain (other colors, turned by EXIF, damaged) is left to sharp.
 */
import { binding } from '../binding.js';

/** A JPEG that is not decoded yet. */
export interface PlainJpeg {
  readonly jpeg: Buffer;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
}

/** The JPEG in `bytes`, null where sharp must decode it. */
export function plainJpeg(bytes: Buffer, exifRotate: boolean): PlainJpeg | null {
  const header = binding().jpegHeader(bytes);
  if (header === null || (exifRotate && header.orientation > 1)) return null;
  return { jpeg: bytes, width: header.width, height: header.height };
}
