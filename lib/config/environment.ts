/** Which rank of how many this process is, from the variables of torchrun, Slurm and the Kubernetes training operator (DESIGN 2.10). */
import { ConfigError } from '../errors.js';

/** One of the processes that were started together. */
export interface Place {
  /** In [0, world). */
  readonly rank: number;
  readonly world: number;
}

/** One process of a data-parallel run. */
export interface Membership extends Place {
  /** Ranks on this machine. */
  readonly localWorld: number;
  /** Where rank 0 can be reached. */
  readonly address: string;
  readonly port: number;
  /** Whether this process opens the store at which all meet: rank 0, unless torchrun's agent has opened it already. */
  readonly isServer: boolean;
  /** Tells a restart from what it left in the same store. */
  readonly attempt: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

const launchers =
  'Start the ranks with torchrun or srun, which set it, or unset RANK and WORLD_SIZE to be alone.';

/**
 * `RANK` of `WORLD_SIZE`, or srun's; undefined where none of them is set. Throws `ERR_COTS_CONFIG` for one alone or no such rank; `wayOut` ends
 * the message.
 */
export function placeOf(env: Environment = process.env, wayOut = launchers): Place | undefined {
  const found = isSlurmTask(env) ? slurm(env) : env;
  if (found['RANK'] === undefined && found['WORLD_SIZE'] === undefined) return undefined;
  const world = whole(found, 'WORLD_SIZE', 1, 1_000_000, wayOut);
  return { rank: whole(found, 'RANK', 0, world - 1, wayOut), world };
}

/** Undefined: the process is alone. Throws `ERR_COTS_CONFIG` for variables that are missing or do not agree. */
export function membership(env: Environment = process.env): Membership | undefined {
  const place = placeOf(env);
  if (place === undefined || place.world === 1) return undefined;
  const { rank, world } = place;
  const found = isSlurmTask(env) ? { ...slurm(env), ...given(env) } : env;
  const byAgent = found['TORCHELASTIC_USE_AGENT_STORE'] === 'True';
  return {
    rank,
    world,
    localWorld: localRanks(found),
    address: text(found, 'MASTER_ADDR'),
    port: whole(found, 'MASTER_PORT', 1, 65_535),
    isServer: rank === 0 && !byAgent,
    attempt: found['TORCHELASTIC_RESTART_COUNT'] ?? '0',
  };
}

/** Ranks that share this machine, and so its cores. Does not throw. */
export function localRanks(env: Environment = process.env): number {
  const count = Number(env['LOCAL_WORLD_SIZE'] ?? 1);
  return Number.isSafeInteger(count) && count >= 1 ? count : 1;
}

/** This process's place among those of its machine, by torchrun or srun; 0 where none is told. Does not throw. */
export function localRank(env: Environment = process.env): number {
  const place = Number(env['LOCAL_RANK'] ?? (isSlurmTask(env) ? env['SLURM_LOCALID'] : 0) ?? 0);
  return Number.isSafeInteger(place) && place >= 0 ? place : 0;
}

/** Started by srun. In the batch script itself SLURM_NTASKS is set too, but there is no step. */
function isSlurmTask(env: Environment): boolean {
  const tasks = env['SLURM_STEP_NUM_TASKS'];
  if (env['RANK'] !== undefined || tasks === undefined) return false;
  return env['WORLD_SIZE'] === undefined || Number(tasks) > 1;
}

function slurm(env: Environment): Environment {
  const job = Number(env['SLURM_JOB_ID'] ?? 0);
  return {
    RANK: env['SLURM_PROCID'],
    WORLD_SIZE: env['SLURM_STEP_NUM_TASKS'],
    MASTER_ADDR: firstHost(env['SLURM_STEP_NODELIST'] ?? env['SLURM_JOB_NODELIST'] ?? ''),
    MASTER_PORT: String(20_000 + (job % 10_000)),
    TORCHELASTIC_RESTART_COUNT: env['SLURM_STEP_ID'],
  };
}

/** What the user has set himself goes before what is derived. */
function given(env: Environment): Environment {
  const names = ['MASTER_ADDR', 'MASTER_PORT', 'LOCAL_WORLD_SIZE'].filter((name) => env[name] !== undefined);
  return Object.fromEntries(names.map((name) => [name, env[name]]));
}

/** The first host of a Slurm list: `node[07-09,12],login1` gives node07. */
export function firstHost(list: string): string {
  const [, prefix = '', ranges, suffix = ''] = /^([^,[]*)(?:\[([^\]]*)\])?([^,[]*)/.exec(list) ?? [];
  const [first = ''] = (ranges ?? '').split(/[-,]/);
  return `${prefix}${first}${suffix}`;
}

function text(env: Environment, name: string, wayOut = launchers): string {
  const value = env[name];
  if (value !== undefined && value !== '') return value;
  throw new ConfigError(
    `Expected the environment variable ${name} beside RANK and WORLD_SIZE, got none. ${wayOut}`,
  );
}

function whole(env: Environment, name: string, min: number, max: number, wayOut = launchers): number {
  const value = text(env, name, wayOut);
  if (/^\d+$/.test(value) && Number(value) >= min && Number(value) <= max) return Number(value);
  throw new ConfigError(
    `Expected the environment variable ${name} to be a whole number from ${min} to ${max}, got '${value}'. ${wayOut}`,
  );
}
