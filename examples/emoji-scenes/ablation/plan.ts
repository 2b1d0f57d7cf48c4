/** Which runs the ablation has: every variant on clean and on noisy captions, a few seeds each. */
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { packageRoot } from '../../../lib/binding.js';
import { loadConfig } from '../../../lib/config/load.js';
import type { TrainConfig } from '../../../lib/config/schema.js';
import { ConfigError } from '../../../lib/errors.js';
import { kindOf, readJson } from '../../../lib/read-file.js';
import { writeFileAtomic } from '../../../lib/write-file.js';
import { demoMakeUp } from '../demo-scenes.js';

/** `configs/ablation/NAME.yaml`, in the order of the figure's rows; the first is what the others are compared with. */
export const variants = [
  { name: 'instance', title: 'instance only' },
  { name: 'instance-task', title: 'instance + task' },
  { name: 'instance-cmvm', title: 'instance + CMVM' },
  { name: 'instance-cmlm', title: 'instance + CMLM' },
  { name: 'instance-token', title: 'instance + CMVM + CMLM' },
  { name: 'no-filter', title: 'all but the filter' },
  { name: 'all', title: 'all (filter k = 1)' },
  { name: 'all-k2', title: 'all, filter k = 2' },
] as const;
export type Variant = (typeof variants)[number]['name'];

/** Shares of the training images with the captions of another. */
export const noiseShares = [0, 0.3] as const;

/** One training run. */
export interface AblationRun {
  readonly variant: Variant;
  readonly noise: number;
  readonly seed: number;
}

export function isSameRun(one: AblationRun, other: AblationRun): boolean {
  return one.variant === other.variant && one.noise === other.noise && one.seed === other.seed;
}

/** The folders of an ablation. */
export class Folders {
  readonly out: string;

  constructor(out: string) {
    this.out = path.resolve(out);
  }

  scenes(noise: number): string {
    return path.join(this.out, `scenes-${Math.round(100 * noise)}`);
  }

  manifest(noise: number): string {
    return path.join(this.scenes(noise), 'manifest.jsonl');
  }

  get tokenizer(): string {
    return path.join(this.out, 'tokenizer');
  }

  run({ variant, noise, seed }: AblationRun): string {
    return path.join(this.out, 'runs', `${variant}-${Math.round(100 * noise)}-${seed}`);
  }
}

/** All runs, a whole table of one seed before the next: an ablation that is stopped has whole tables. */
export function plannedRuns(seeds: number): AblationRun[] {
  const runs: AblationRun[] = [];
  for (let seed = 0; seed < seeds; seed++)
    for (const { name } of variants)
      for (const noise of noiseShares) runs.push({ variant: name, noise, seed });
  return runs;
}

/** The config of a run. `overrides` are the user's, on all runs alike. */
export function runConfig(
  run: AblationRun,
  folders: Folders,
  overrides: readonly string[],
): Promise<TrainConfig> {
  const file = path.join(packageRoot(), 'configs', 'ablation', `${run.variant}.yaml`);
  return loadConfig(file, [
    ...overrides,
    `train.out=${folders.run(run)}`,
    `train.seed=${run.seed}`,
    `token.tokenizer=${folders.tokenizer}`,
    `data.train=${folders.manifest(run.noise)}`,
  ]);
}

/**
 * Keeps results of different settings apart: notes them in a new folder, compares them in one that has some. Resolves to a hash of the
 * settings, by which results elsewhere are known. Throws `ERR_COTS_CONFIG`. `scenes`: training scenes.
 */
export async function claimFolder(
  folders: Folders,
  scenes: number,
  overrides: readonly string[],
): Promise<string> {
  const file = path.join(folders.out, 'settings.json');
  const configs: Record<string, unknown> = {};
  for (const { name } of variants) {
    const run = { variant: name, noise: 0, seed: 0 };
    const { train, ...config } = await runConfig(run, new Folders('/'), overrides);
    configs[name] = { ...config, train: { ...train, threads: null } };
  }

  const settings = JSON.stringify({ scenes, makeUp: demoMakeUp, configs });
  const hash = createHash('sha256').update(settings).digest('hex');
  if ((await kindOf(file)) === undefined) {
    await mkdir(folders.out, { recursive: true });
    await writeFileAtomic(file, `${settings}\n`);
  } else if (JSON.stringify(await readJson(file)) !== settings)
    throw new ConfigError(
      `Expected ${folders.out} to hold runs of these settings, it holds runs of others (settings.json). Name another folder with --out, or delete this one.`,
    );
  return hash;
}
