/** The views that networks take of an image, made by the addon beside a training step. */
import { binding, type NativeTransform } from '../binding.js';
import type { DecodedImage } from './decode.js';
import type { PlainJpeg } from './jpeg.js';

/** One view that the addon makes of each image. */
export interface View {
  /** Side in pixels. */
  readonly size: number;
  readonly filter: 'bicubic' | 'bilinear' | 'lanczos';
  /** Apply the color jitter of the transform. */
  readonly jitter: boolean;
}

/** uint8 [n, side, side, 3] a view. */
export async function makeViews(
  images: readonly { image: DecodedImage; transform: NativeTransform }[],
  views: readonly View[],
): Promise<Uint8Array[]> {
  if (views.length === 0) return [];
  return binding().makeViews({
    images: images.map(({ image: { data, width, height }, transform }) => ({
      data,
      width,
      height,
      transform,
    })),
    views: [...views],
  });
}

/** The same of one JPEG, decoded as far as the transform's crop needs it; null where sharp must decode it. */
export async function makeJpegViews(
  { image, transform }: { image: PlainJpeg; transform: NativeTransform },
  views: readonly View[],
): Promise<Uint8Array[] | null> {
  return binding().makeJpegViews({ ...image, transform, views: [...views] });
}
