/** What bench/plan.ts needs of a user: the dry run, and a run that is watched from outside. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { median } from '../lib/bench/timing.js';
import { packageRoot } from '../lib/binding.js';
import type { TrainPlan } from '../lib/config/plan.js';
import type { TrainConfig } from '../lib/config/schema.js';
import type { Metrics } from '../lib/train/metrics.js';

export type DryRun = TrainPlan & { readonly config: TrainConfig };

const main = fileURLToPath(new URL('../lib/cli/main.js', import.meta.url));
const pollMs = 20;

/** Runs `cots` in the package's folder and gives its document. */
export async function cots<Result>(...args: string[]): Promise<Result> {
  const { stdout } = await promisify(execFile)(process.execPath, [main, ...args, '--json'], {
    cwd: packageRoot(),
    maxBuffer: 2 ** 26,
  });
  return JSON.parse(stdout) as Result;
}

export interface TrainingRun {
  /** Largest resident memory of the process. */
  readonly peakBytes: number;
  /** Median of the steps but the first. */
  readonly stepSeconds: number;
}

/** `cots train` with `args`, which name `out`; the folder is gone afterwards. */
export async function watchTraining(args: readonly string[], out: string): Promise<TrainingRun> {
  const child = spawn(process.execPath, [main, 'train', ...args, '--json'], {
    cwd: packageRoot(),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const said: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  const ended = once(child, 'close');
  const peakBytes = await highWater(child);
  const [code] = await ended;
  if (code !== 0) throw new Error(`cots train ended with ${code}: ${Buffer.concat(said).toString()}`);
  const lines = (await readFile(path.join(out, 'metrics.jsonl'), 'utf8')).trimEnd().split('\n');
  const rows = lines.slice(1).map((line) => JSON.parse(line) as Metrics);
  await rm(out, { recursive: true });
  return { peakBytes, stepSeconds: median(rows.map((row) => row.pairs / row.pairs_per_second)) };
}

/** The kernel keeps the most that was resident; what is read last, up to `pollMs` before the end, stands. */
async function highWater(child: ChildProcess): Promise<number> {
  let bytes = 0;
  while (child.exitCode === null && child.signalCode === null) {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '');
    const found = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
    if (found !== undefined) bytes = Math.max(bytes, 1024 * Number(found));
    await pause(pollMs);
  }

  return bytes;
}
