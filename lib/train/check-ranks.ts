/** What the ranks of a run must have in common before they begin. */
import { createHash } from 'node:crypto';
import type { TrainConfig } from '../config/schema.js';
import { ConfigError, CotsError } from '../errors.js';
import { flattenConfig } from './checkpoint.js';
import type { Ranks } from './ranks.js';

/** Keys that may differ between ranks: how a machine does its share, and where its files lie. */
const localKeys = [
  /^train\.(threads|init)$/,
  /^data\.(train|validation|workers|prefetch|prefetchBytes|cacheBytes|cacheImageBytes|vocabulary)(\.|$)/,
  /^token\.tokenizer$/,
];

/** Throws `ERR_COTS_CONFIG` or `ERR_COTS_NOT_IMPLEMENTED` for a config that does not go with so many ranks. */
export function checkRanks({ queue, train, optim }: TrainConfig, world: number): void {
  if (world > 1 && train.device !== 'cpu') checkGpus(train, optim, world);
  if (world > 1 && queue.includeBatchKeys)
    throw new ConfigError(
      `Expected \`queue.includeBatchKeys\` to be false with several ranks, got true with ${world}: a rank does not see the pairs of the others. Set it to false.`,
    );
  if (world > train.batchSize)
    throw new ConfigError(
      `Expected \`train.batchSize\` to be at least the number of ranks (${world}), got ${train.batchSize}: it is the batch of all ranks together. Use ${world} or more.`,
    );
}

/** Each rank has a GPU of its own, and all steps one shape. */
function checkGpus(train: TrainConfig['train'], optim: TrainConfig['optim'], world: number): void {
  if (train.device !== 'cuda')
    throw new ConfigError(
      `Expected \`train.device\` to be cuda with several ranks, each of which takes the GPU of its place on the machine (LOCAL_RANK), got '${train.device}'. Set train.device=cuda.`,
    );
  if (train.batchSize % (world * train.accumulate) !== 0)
    throw new ConfigError(
      `Expected \`train.batchSize\` to be a multiple of the ranks (${world}) times \`train.accumulate\` (${train.accumulate}) on GPUs, whose steps have one shape, got ${train.batchSize}. Use ${world * train.accumulate * Math.max(1, Math.round(train.batchSize / world / train.accumulate))}.`,
    );
  if (optim.sharded)
    throw new CotsError(
      'ERR_COTS_NOT_IMPLEMENTED',
      'Expected `optim.sharded` to be false on several GPUs, got true, which this version has on CPUs alone. Set optim.sharded=false.',
    );
}

/** Throws `ERR_COTS_DISTRIBUTED` on all ranks when they were not given the same config and the same files, told by their hashes. */
export async function checkSameRun(
  ranks: Ranks,
  config: TrainConfig,
  files: Readonly<Record<string, string | null>>,
): Promise<void> {
  if (ranks.world === 1) return;
  const shared = [...flattenConfig(config)].filter(([key]) => !localKeys.some((local) => local.test(key)));
  const own: typeof files = { config: digest(shared), ...files };
  const all = await ranks.gather('same run', own);
  for (const [what, value] of Object.entries(own)) {
    const other = all.findIndex((found) => found[what] !== value);
    if (other >= 0)
      throw new CotsError(
        'ERR_COTS_DISTRIBUTED',
        `Expected all ranks to have the same ${what}, rank ${ranks.rank} and rank ${other} differ. Give every rank the same files and command.`,
      );
  }
}

/** Hash of plain JSON. */
export function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}
