/**
 * Encoded images to RGB bytes, with the values that Pillow's `convert('RGB')` gives:
 * alpha is dropped and the color under it kept as it is; gray is repeated; a palette is looked up; CMYK becomes
 * (255 - C)(255 - K) / 255 a channel; color profiles are not applied. Of 16 bits a color image (and gray with alpha) keeps
 * the upper 8; gray alone is cut at 255, as Pillow does with mode `I;16`.
 * EXIF orientation is applied as `ImageOps.exif_transpose` does.
 */
import { fileURLToPath } from 'node:url';
import sharp, { type Metadata } from 'sharp';
import { show } from '../checks.js';
import { ImageError, OptionError } from '../errors.js';
import { decodePlainJpeg, decodeSmallJpeg, plainJpeg, smallJpeg } from './jpeg.js';
import { readMedia } from './media.js';

/** A path, a `file:` URL, encoded bytes, or RGB pixels. */
export type ImageInput = string | URL | Buffer | { data: Uint8Array; width: number; height: number };

/** RGB bytes, row-major [height, width, 3]. */
export interface DecodedImage {
  readonly data: Uint8Array;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
}

export interface DecodeOptions {
  /** Turn the image as its EXIF orientation says. @default true */
  readonly exifRotate?: boolean;
  /** Awaited with the decoded size in bytes before any pixel is decoded, so that a caller can bound memory. */
  readonly admit?: (decodedBytes: number) => Promise<void>;
  /**
   * A JPEG whose shorter side stays at least so many pixels long may be decoded at 1/2, 1/4 or 1/8 of its size, by libjpeg's scaled
   * transform. @default each image at its own size
   */
  readonly least?: number | undefined;
}

const admitAll = async (): Promise<void> => {};

/** Longest side, in pixels. */
export const maxSide = 10_000;
/** Largest area, in pixels. */
export const maxPixels = 100_000_000;

/**
 * Decodes one image off the event loop. Throws `ERR_COTS_IMAGE` for one that is empty, broken, truncated or too large, and
 * `ERR_COTS_FILE` for a path that cannot be read.
 */
export async function decodeImage(input: ImageInput, options: DecodeOptions = {}): Promise<DecodedImage> {
  if (isPixels(input)) return checkedPixels(input);
  const { bytes, name } = await encodedBytes(input);
  const { exifRotate = true, admit = admitAll, least } = options;
  const small = least === undefined ? null : await decodeSmall(bytes, name, exifRotate, admit, least);
  return small ?? decodeBytes(bytes, name, exifRotate, admit);
}

/** Null where the image has to be decoded at its own size, before anything was admitted. */
async function decodeSmall(
  bytes: Buffer,
  name: string,
  exifRotate: boolean,
  admit: (decodedBytes: number) => Promise<void>,
  least: number,
): Promise<DecodedImage | null> {
  const jpeg = smallJpeg(bytes, least, exifRotate);
  if (jpeg === null) return null;
  refuseTooLarge(jpeg, name);
  // As for all of it: what libjpeg cannot decode comes at its own size after all.
  await admit(3 * jpeg.width * jpeg.height);
  return (await decodeSmallJpeg(jpeg)) ?? decodeWithSharp(bytes, name, exifRotate, admitAll);
}

/** Decodes encoded bytes. `name` stands in messages; see `DecodeOptions`. */
export async function decodeBytes(
  bytes: Buffer,
  name: string,
  exifRotate: boolean,
  admit: (decodedBytes: number) => Promise<void>,
): Promise<DecodedImage> {
  if (bytes.length === 0)
    throw new ImageError(
      `Expected ${name} to be an image, got an empty file. Remove it or restore it from its source.`,
    );
  const jpeg = plainJpeg(bytes, exifRotate);
  if (jpeg === null) return decodeWithSharp(bytes, name, exifRotate, admit);
  const { width, height } = jpeg;
  refuseTooLarge(jpeg, name);
  await admit(3 * width * height);
  const data = await decodePlainJpeg(jpeg);
  if (data === null) return decodeWithSharp(bytes, name, exifRotate, admitAll);
  return { data, width, height };
}

/** As `decodeBytes`, by sharp alone. */
export async function decodeWithSharp(
  bytes: Buffer,
  name: string,
  exifRotate: boolean,
  admit: (decodedBytes: number) => Promise<void>,
): Promise<DecodedImage> {
  const header = sharp(bytes, { limitInputPixels: false }); // the size is judged below
  const metadata = await attempt(name, () => header.metadata());
  refuseTooLarge(metadata, name);
  await admit(3 * metadata.width * metadata.height);
  return attempt(name, () => decodePixels(bytes, metadata, exifRotate));
}

/** Path or kind of an input, for messages. */
export function nameOfImage(input: ImageInput): string {
  if (typeof input === 'string') return input;
  if (input instanceof URL) return input.href;
  return isPixels(input) ? 'the pixels given' : 'the bytes given';
}

async function encodedBytes(input: string | URL | Buffer): Promise<{ bytes: Buffer; name: string }> {
  const name = nameOfImage(input);
  if (Buffer.isBuffer(input)) return { bytes: input, name };
  if (typeof input === 'string') return { bytes: await readMedia(input, 'an image'), name };
  if (input instanceof URL) {
    if (input.protocol !== 'file:') {
      throw new OptionError(
        `Expected an image URL to be a file: URL, got ${name}. Download it first and give its path or bytes.`,
      );
    }

    return { bytes: await readMedia(pathOf(input), 'an image'), name };
  }

  throw new OptionError(
    `Expected an image to be a path, a file: URL, a Buffer or { data, width, height }, got ${show(input)}.`,
  );
}

function pathOf(url: URL): string {
  try {
    return fileURLToPath(url);
  } catch (error) {
    throw new OptionError(
      `Expected an image URL to be that of a file of this machine, got ${url.href}. Give its path.`,
      { cause: error },
    );
  }
}

export function isPixels(input: ImageInput): input is DecodedImage {
  return (
    typeof input === 'object' &&
    input !== null &&
    'data' in input &&
    'width' in input &&
    !Buffer.isBuffer(input)
  );
}

function checkedPixels({ data, width, height }: DecodedImage): DecodedImage {
  const whole = Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0;
  if (!whole || !(data instanceof Uint8Array) || data.length !== 3 * width * height) {
    throw new OptionError(
      `Expected pixels to be { data, width, height } with 3 * width * height bytes of RGB, got ${show(data)} for ${show(width)} x ${show(height)}. Drop an alpha channel first.`,
    );
  }

  return { data, width, height };
}

/** Throws `ERR_COTS_IMAGE` for more pixels than `maxSide` and `maxPixels`. */
export function refuseTooLarge({ width, height }: { width: number; height: number }, name: string): void {
  if (width <= maxSide && height <= maxSide && width * height <= maxPixels) return;
  throw new ImageError(
    `Expected ${name} to be at most ${maxSide} pixels a side and ${maxPixels / 1e6} megapixels, got ${width} x ${height}. Make it smaller first.`,
  );
}

async function decodePixels(bytes: Buffer, metadata: Metadata, exifRotate: boolean): Promise<DecodedImage> {
  const { space, depth } = metadata;
  let pipeline = sharp(bytes, { ignoreIcc: true, failOn: 'error', limitInputPixels: maxPixels });
  if (exifRotate && (metadata.orientation ?? 1) > 1) pipeline = pipeline.autoOrient();
  if (space === 'cmyk') pipeline = pipeline.pipelineColourspace('cmyk').toColourspace('cmyk');
  const wide = depth === 'ushort';
  if (wide) pipeline = pipeline.pipelineColourspace(space).toColourspace(space);
  const { data, info } = await pipeline
    .raw({ depth: wide ? 'ushort' : 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const size = { width: info.width, height: info.height };
  if (space === 'cmyk') return { data: fromCmyk(data, info.channels), ...size };
  if (wide) {
    const values = new Uint16Array(data.buffer, data.byteOffset, data.length / 2);
    const narrow =
      info.channels === 1 ? (value: number) => Math.min(255, value) : (value: number) => value >> 8;
    return { data: toRgb(values, info.channels, narrow), ...size };
  }

  return { data: info.channels === 3 ? data : toRgb(data, info.channels, (value) => value), ...size };
}

/** Any number of channels to three: gray is repeated, what follows the color is dropped. */
function toRgb(values: ArrayLike<number>, channels: number, narrow: (value: number) => number): Uint8Array {
  const pixels = values.length / channels;
  const rgb = new Uint8Array(3 * pixels);
  const [green, blue] = channels >= 3 ? [1, 2] : [0, 0];
  for (let pixel = 0; pixel < pixels; pixel++) {
    const from = pixel * channels;
    rgb[3 * pixel] = narrow(values[from] as number);
    rgb[3 * pixel + 1] = narrow(values[from + green] as number);
    rgb[3 * pixel + 2] = narrow(values[from + blue] as number);
  }

  return rgb;
}

/** Pillow's `cmyk2rgb`: n - c * n / 255 with n = 255 - k, rounded as MULDIV255 does. */
function fromCmyk(values: Uint8Array, channels: number): Uint8Array {
  const pixels = values.length / channels;
  const rgb = new Uint8Array(3 * pixels);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const from = pixel * channels;
    const light = 255 - (values[from + 3] as number);
    for (let channel = 0; channel < 3; channel++) {
      const product = (values[from + channel] as number) * light + 128;
      rgb[3 * pixel + channel] = Math.max(0, light - (((product >> 8) + product) >> 8));
    }
  }

  return rgb;
}

async function attempt<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const [first] = (error as Error).message.split('\n');
    const reason = first === 'Unknown error' ? 'its data ends early or is broken' : first;
    throw new ImageError(
      `Expected ${name} to be an image that can be decoded whole, got: ${reason}. Restore it from its source.`,
      {
        cause: error,
      },
    );
  }
}
