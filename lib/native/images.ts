/** Types of the addon (native/addon). Views of decoded pixels. */

export interface NativeTransform {
  left: number;
  top: number;
  width: number;
  height: number;
  flip: boolean;
  /** null: no color jitter. */
  jitter: { brightness: number; contrast: number; saturation: number; order: number } | null;
}

/** One view of an image: uint8 [size, size, 3]. */
export interface NativeView {
  size: number;
  filter: 'bicubic' | 'bilinear' | 'lanczos';
  jitter: boolean;
  /** What is resized to, at least `size` a side; the view is its centered square. Without it: `size` a side. */
  frame?: { width: number; height: number };
}

/** Pixels to make views of. */
export interface NativeImage {
  data: Uint8Array;
  width: number;
  height: number;
  transform: NativeTransform;
}

/** Views that were made ahead, in memory that JavaScript does not see; good for one `makeViews`. */
export type NativeMadeViews = object & { readonly madeViews: unique symbol };
