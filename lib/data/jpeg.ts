/**
 * JPEGs that the addon decodes by itself, with the system's libjpeg-turbo where the build found one: the pixels that sharp gives, at
 * half the cost. What is not plain (other colors, turned by EXIF, damaged) is left to sharp.
 */
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
  return binding().decodeJpeg({ ...jpeg });
}

/** The JPEG in `bytes`, null where sharp must decode it. */
export function plainJpeg(bytes: Buffer, exifRotate: boolean): PlainJpeg | null {
  const header = binding().jpegHeader(bytes);
  if (header === null || (exifRotate && header.orientation > 1)) return null;
  return { jpeg: bytes, width: header.width, height: header.height };
}
