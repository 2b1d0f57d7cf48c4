/** Which part of an input this process embeds, of several that write the same rows. */
import { type Environment, type Place, placeOf } from '../config/environment.js';

/** Rank `rank` of `world` takes the partitions whose number leaves `rank` when divided by `world`. */
export type Share = Place;

export const wholeInput: Share = { rank: 0, world: 1 };

/**
 * `RANK` of `WORLD_SIZE`, as torchrun or a cluster's job array sets them, or srun's; the whole input without them. Throws `ERR_COTS_CONFIG`
 * for one alone or no such rank.
 */
export function shareOf(env: Environment = process.env): Share {
  return placeOf(env, 'Set RANK and WORLD_SIZE together, or neither to embed everything here.') ?? wholeInput;
}
