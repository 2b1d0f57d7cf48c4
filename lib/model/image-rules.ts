/**
 * How an image becomes the input of the vision tower: `preprocessor_config.json`, ours and that of transformers' processors of
 * ViT, DeiT, BEiT and CLIP: resize to a square or by the shorter side, centered square, scale, normalize.
 */
import { CheckpointError } from '../errors.js';
import type { ResizeFilter } from '../ops.js';
import { exists, readJson } from '../read-file.js';
import { Fields } from './json-fields.js';

export interface ImageRules {
  /** Per channel of pixels in [0, 1]. */
  readonly mean: [number, number, number];
  readonly std: [number, number, number];
  readonly filter: ResizeFilter;
  /** What is resized to before the centered square of the tower's size is taken; null: that square, aspect not kept. */
  readonly resize: Resize | null;
}

export interface Resize {
  /** `stretch`: a square, aspect not kept. `shortest`: the shorter side. */
  readonly to: 'stretch' | 'shortest';
  /** Pixels, at least the tower's size. */
  readonly side: number;
}

/** Families of processors; each has its own values for keys that a file does not have. */
export type ProcessorFamily = 'vit' | 'deit' | 'beit' | 'clip';

interface Defaults extends ImageRules {
  readonly crops: boolean;
}

const half: Pick<ImageRules, 'mean' | 'std'> = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };

// transformers' image_processing_*.py.
const processors: Readonly<Record<ProcessorFamily, Defaults>> = {
  vit: { ...half, filter: 'bilinear', resize: null, crops: false },
  beit: { ...half, filter: 'bicubic', resize: null, crops: false },
  deit: { ...half, filter: 'bicubic', resize: { to: 'stretch', side: 256 }, crops: true },
  clip: {
    mean: [0.48145466, 0.4578275, 0.40821073],
    std: [0.26862954, 0.26130258, 0.27577711],
    filter: 'bicubic',
    resize: { to: 'shortest', side: 224 },
    crops: true,
  },
};

// Pillow's numbers of the filters.
const resampleNumbers: Readonly<Record<ResizeFilter, number>> = { lanczos: 1, bilinear: 2, bicubic: 3 };

/** Rounding of a `rescale_factor` that means 1 / 255. */
const rescaleTolerance = 1e-6;

/** The `preprocessor_config.json` of these rules, for a tower of `size` pixels. */
export function describePreprocessing(size: number, { mean, std, filter, resize }: ImageRules): object {
  const square = (side: number) => ({ height: side, width: side });
  const types = { stretch: 'DeiTImageProcessor', shortest: 'CLIPImageProcessor' } as const;
  return {
    image_processor_type: resize === null ? 'ViTImageProcessor' : types[resize.to],
    do_convert_rgb: true,
    do_resize: true,
    size: resize?.to === 'shortest' ? { shortest_edge: resize.side } : square(resize?.side ?? size),
    resample: resampleNumbers[filter],
    ...(resize === null ? {} : { do_center_crop: true, crop_size: square(size) }),
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: mean,
    image_std: std,
  };
}

/**
 * Reads a `preprocessor_config.json`, ours or Hugging Face's, for a tower of `size` pixels. A key that is absent has the value
 * of the file's own processor, or else of `family`; without a file all are those. Throws `ERR_COTS_CHECKPOINT`.
 */
export async function readImageRules(
  file: string,
  size: number,
  family?: ProcessorFamily,
): Promise<ImageRules> {
  if (family !== undefined && !(await exists(file))) {
    const { mean, std, filter, resize } = processors[family];
    return { mean, std, filter, resize: resize !== null && resize.side >= size ? resize : null };
  }

  const fields = new Fields(file, await readJson(file));
  const own = familyOf(fields) ?? family ?? 'vit';
  const defaults = processors[own];
  return {
    ...normalization(fields, file, defaults),
    filter: fields.value('resample') === undefined ? defaults.filter : filterOf(fields, file),
    resize: resizeOf(fields, file, size, own),
  };
}

/** The same rules where the tower takes images of another size: the frame grows with it. */
export function rulesAt(rules: ImageRules, from: number, to: number): ImageRules {
  if (rules.resize === null || from === to) return rules;
  return { ...rules, resize: { ...rules.resize, side: Math.round((rules.resize.side * to) / from) } };
}

/** `ViTImageProcessor`, `DeiTFeatureExtractor`, `CLIPImageProcessorFast`, ... */
function familyOf(fields: Fields): ProcessorFamily | undefined {
  const type = fields.value('image_processor_type') ?? fields.value('feature_extractor_type');
  if (typeof type !== 'string') return undefined;
  const [name] = /^(ViT|DeiT|Beit|CLIP)(?=ImageProcessor|FeatureExtractor)/.exec(type) ?? [];
  return name?.toLowerCase() as ProcessorFamily | undefined;
}

/** x * factor, less mean, over std, as rules on pixels in [0, 1]. */
function normalization(fields: Fields, file: string, defaults: Defaults): Pick<ImageRules, 'mean' | 'std'> {
  const given = (key: string): boolean => fields.value(key) !== undefined;
  const scale =
    fields.value('do_rescale') === false
      ? 255
      : given('rescale_factor')
        ? 255 * fields.number('rescale_factor')
        : 1;
  if (!(scale > 0) || fields.value('offset') === true) {
    throw new CheckpointError(
      `Expected ${file} to multiply pixels by a "rescale_factor" above 0 and no more, got ${JSON.stringify(fields.value('rescale_factor'))}${fields.value('offset') === true ? ' with an offset' : ''}.`,
    );
  }

  const normalizes = fields.value('do_normalize') !== false;
  const mean = given('image_mean') ? fields.channels('image_mean') : defaults.mean;
  const std = given('image_std') ? fields.deviations('image_std') : defaults.std;
  const onUnit = (values: readonly number[]): [number, number, number] => {
    const exact = Math.abs(scale - 1) < rescaleTolerance;
    return values.map((value) => (exact ? value : value / scale)) as [number, number, number];
  };
  return { mean: onUnit(normalizes ? mean : [0, 0, 0]), std: onUnit(normalizes ? std : [1, 1, 1]) };
}

function resizeOf(fields: Fields, file: string, size: number, family: ProcessorFamily): Resize | null {
  const refuse = (rule: string, got: string): never => {
    throw new CheckpointError(
      `Expected ${file} to ${rule} for a model of ${size} x ${size} pixels, got ${got}. Use the file that belongs to the model.`,
    );
  };
  if (fields.value('do_resize') === false) refuse('resize', '"do_resize": false');
  const { crops, resize: usual } = processors[family];
  const given = fields.value('size');
  const resize = given === undefined ? (usual ?? { to: 'stretch', side: size }) : parseSize(given, family);
  if (resize === undefined)
    return refuse('resize to a square or by "shortest_edge"', `"size": ${JSON.stringify(given)}`);
  if (!((fields.value('do_center_crop') as boolean | undefined) ?? crops)) {
    if (resize.to === 'stretch' && resize.side === size) return null;
    return refuse('give the square that the model takes', `"size": ${JSON.stringify(given)} without a crop`);
  }

  const cropSize = fields.value('crop_size');
  const crop = cropSize === undefined ? size : parseSize(cropSize, 'vit')?.side;
  if (crop !== size)
    refuse('crop to the square that the model takes', `"crop_size": ${JSON.stringify(cropSize)}`);
  if (resize.side < size) refuse('resize to no less than it crops', `"size": ${JSON.stringify(given)}`);
  return resize.to === 'stretch' && resize.side === size ? null : resize;
}

/** 224, [224, 224], { height: 224, width: 224 } or { shortest_edge: 224 }; a number alone is the shorter side for CLIP. */
function parseSize(value: unknown, family: ProcessorFamily): Resize | undefined {
  const isSide = (side: unknown): side is number => Number.isInteger(side) && (side as number) > 0;
  const stretch = (height: unknown, width: unknown): Resize | undefined =>
    isSide(height) && height === width ? { to: 'stretch', side: height } : undefined;
  if (isSide(value)) return { to: family === 'clip' ? 'shortest' : 'stretch', side: value };
  if (Array.isArray(value)) return value.length === 2 ? stretch(value[0], value[1]) : undefined;
  if (typeof value !== 'object' || value === null) return undefined;
  const { height, width, shortest_edge: shortest, longest_edge: longest } = value as Record<string, unknown>;
  if (longest !== undefined) return undefined;
  return isSide(shortest) ? { to: 'shortest', side: shortest } : stretch(height, width);
}

function filterOf(fields: Fields, file: string): ResizeFilter {
  const resample = fields.number('resample');
  const filter = (Object.keys(resampleNumbers) as ResizeFilter[]).find(
    (name) => resampleNumbers[name] === resample,
  );
  if (filter === undefined) {
    throw new CheckpointError(
      `Expected "resample" in ${file} to be 1 (lanczos), 2 (bilinear) or 3 (bicubic), got ${resample}.`,
    );
  }

  return filter;
}
