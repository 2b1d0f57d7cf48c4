/** Options and result of `Cots.attention` (SPEC 9). */
import * as check from '../checks.js';
import type { ModelConfig } from '../config/schema.js';

export const mapMethods = ['relevancy', 'patch_sim', 'dino'] as const;

/**
 * How a map is made. `relevancy`: attention times the score's gradient by it, over heads and layers (Chefer et al. 2021). `patch_sim`: each
 * patch's projected state against the text's vector; cheap, and a heuristic, for the projection is trained on the pooled state alone. `dino`:
 * what the class token attends to in the last layer, whatever the text says.
 */
export type MapMethod = (typeof mapMethods)[number];

export interface AttentionOptions {
  /** @default 'relevancy' */
  readonly method?: MapMethod;
  /** Of `relevancy`: the first layer that counts, from 0; more layers make a smoother map. @default the last layer */
  readonly startLayer?: number;
  readonly signal?: AbortSignal;
}

export interface AttentionMap {
  /** In [0, 1], row by row; all 0 where no patch stands out. */
  map: Float32Array;
  /** Patches. */
  grid: [rows: number, columns: number];
  /** Of the image and the text: their vectors' product. */
  score: number;
}

/** Every field given. Throws `ERR_COTS_OPTION`. */
export function checkAttentionOptions(
  options: AttentionOptions | undefined,
  { image }: ModelConfig,
): { method: MapMethod; startLayer: number; signal: AbortSignal | undefined } {
  check.options('attention', options, ['method', 'startLayer', 'signal']);
  return {
    method: check.oneOf('method', options?.method ?? 'relevancy', [...mapMethods]),
    startLayer: check.integer('startLayer', options?.startLayer ?? image.layers - 1, 0, image.layers - 1),
    signal: check.signal(options?.signal),
  };
}
