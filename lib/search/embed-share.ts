/** Which part of an input this process embeds, of several that write the same rows: the environment of torchrun, Slurm or a cluster's job array. */
import { ConfigError } from '../errors.js';

/** Rank `rank` of `world` takes the partitions whose number leaves `rank` when divided by `world`. */
export interface Share {
  readonly rank: number;
  readonly world: number;
}

export const wholeInput: Share = { rank: 0, world: 1 };

type Environment = Readonly<Record<string, string | undefined>>;

/** `RANK` of `WORLD_SIZE`, or srun's; the whole input without them. Throws `ERR_COTS_CONFIG` for one alone or no such rank. */
export function shareOf(env: Environment = process.env): Share {
  const bySlurm = env['RANK'] === undefined && env['WORLD_SIZE'] === undefined;
  const [rankName, worldName] = bySlurm
    ? (['SLURM_PROCID', 'SLURM_STEP_NUM_TASKS'] as const)
    : (['RANK', 'WORLD_SIZE'] as const);
  if (bySlurm && env[worldName] === undefined) return wholeInput;
  const world = whole(env, worldName, 1, 1_000_000);
  return { rank: whole(env, rankName, 0, world - 1), world };
}

function whole(env: Environment, name: string, least: number, most: number): number {
  const value = env[name] ?? '';
  if (/^\d{1,7}$/.test(value) && Number(value) >= least && Number(value) <= most) return Number(value);
  throw new ConfigError(
    `Expected the environment variable ${name} to be a whole number from ${least} to ${most}, got '${value}'. Set RANK and WORLD_SIZE together, or neither to embed everything here.`,
  );
}
