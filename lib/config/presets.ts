/** Sizes by name: `model.image.arch` and `model.text.arch`. */

/** Sizes of a vision Transformer. */
export interface ImageSizes {
  readonly size: number;
  readonly patch: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly mlpRatio: number;
}

/** Sizes of a text Transformer. */
export interface TextSizes {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly mlpRatio: number;
}

/** Vision Transformers by name (Dosovitskiy et al. 2021; Touvron et al. 2021 for `ti` and `s`; `micro` is this project's, for a laptop). */
export const imageArchitectures = {
  vit_b16: { size: 384, patch: 16, width: 768, layers: 12, heads: 12, mlpRatio: 4 },
  vit_b16_224: { size: 224, patch: 16, width: 768, layers: 12, heads: 12, mlpRatio: 4 },
  vit_l16: { size: 384, patch: 16, width: 1024, layers: 24, heads: 16, mlpRatio: 4 },
  vit_s16: { size: 384, patch: 16, width: 384, layers: 12, heads: 6, mlpRatio: 4 },
  vit_tiny: { size: 224, patch: 16, width: 192, layers: 12, heads: 3, mlpRatio: 4 },
  vit_micro: { size: 48, patch: 8, width: 128, layers: 4, heads: 4, mlpRatio: 4 },
} as const satisfies Record<string, ImageSizes>;

/** BERT by name (Devlin et al. 2019 and the smaller ones of Turc et al. 2019; `micro` matches `vit_micro`). */
export const textArchitectures = {
  bert_base: { width: 768, layers: 12, heads: 12, mlpRatio: 4 },
  bert_large: { width: 1024, layers: 24, heads: 16, mlpRatio: 4 },
  bert_medium: { width: 512, layers: 8, heads: 8, mlpRatio: 4 },
  bert_small: { width: 384, layers: 12, heads: 6, mlpRatio: 4 },
  bert_mini: { width: 256, layers: 4, heads: 4, mlpRatio: 4 },
  bert_tiny: { width: 192, layers: 12, heads: 3, mlpRatio: 4 },
  bert_micro: { width: 128, layers: 4, heads: 4, mlpRatio: 4 },
} as const satisfies Record<string, TextSizes>;

/**
 * Writes the sizes of `arch` into one layer of raw config (a file, or the overrides), where that layer does not give them
 * itself. A layer that names an `arch` therefore replaces the sizes of the layers below it.
 */
export function expandPresets(raw: Record<string, unknown>): Record<string, unknown> {
  const model = raw['model'];
  if (!isRecord(model)) return raw;
  return {
    ...raw,
    model: {
      ...model,
      ...('image' in model && { image: expand(model['image'], imageArchitectures) }),
      ...('text' in model && { text: expand(model['text'], textArchitectures) }),
    },
  };
}

/** The preset whose sizes these are: the one named if it fits, `custom` otherwise. */
export function fittingArchitecture<T extends string>(
  name: T,
  sizes: ImageSizes | TextSizes,
  presets: Record<string, ImageSizes | TextSizes>,
): T | 'custom' {
  const preset = presets[name];
  const fits =
    preset !== undefined &&
    Object.entries(preset).every(([key, value]) => sizes[key as keyof TextSizes] === value);
  return fits ? name : 'custom';
}

function expand(tower: unknown, presets: Record<string, object>): unknown {
  if (!isRecord(tower)) return tower;
  const preset =
    typeof tower['arch'] === 'string' && Object.hasOwn(presets, tower['arch'])
      ? presets[tower['arch']]
      : undefined;
  return { ...preset, ...tower };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
