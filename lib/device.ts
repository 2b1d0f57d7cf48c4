/** Where work runs, and in which number type. */
import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { binding } from './binding.js';
import * as check from './checks.js';
import { CotsError, OptionError } from './errors.js';

export type Device = 'cpu' | 'cuda' | `cuda:${number}`;
export type Precision = 'float32' | 'bfloat16' | 'int8';

/** The device asked for, `cpu` by default. Throws `ERR_COTS_DEVICE` for one that this build cannot use. */
export function resolveDevice(device: unknown): 'cpu' {
  if (device === undefined || device === 'cpu') return 'cpu';
  if (typeof device === 'string' && /^cuda(:\d+)?$/.test(device)) {
    throw new CotsError(
      'ERR_COTS_DEVICE',
      `Expected a device of this build, got '${device}'. It has no CUDA kernels: use device 'cpu'.`,
    );
  }

  throw new OptionError(`Expected \`device\` to be 'cpu', 'cuda' or 'cuda:N', got ${check.show(device)}.`);
}

/** The number type asked for, `float32` by default (DESIGN 2.7: set, never chosen by a timing). */
export function resolvePrecision(precision: unknown): Precision {
  if (precision === undefined) return 'float32';
  return check.oneOf('precision', precision, ['float32', 'bfloat16', 'int8']);
}

/** Threads of a native job: the number asked for, else the cores this process may use. */
export function resolveThreads(threads: unknown): number {
  return threads === undefined || threads === null
    ? usableCores()
    : check.integer('threads', threads, 1, 1024);
}

/** Cores this process may use: its affinity, and the quota of its control group (which Node 20 does not look at). */
export function usableCores(): number {
  return Math.max(1, Math.min(availableParallelism(), quotaCores()));
}

/** Bytes of memory this process may take: the machine's, or less where its control group has a limit. */
export function usableMemory(): number {
  const limit = process.constrainedMemory() || Infinity; // 0 or undefined: none
  return Math.min(totalmem(), limit);
}

/** Whole cores that cgroup v2 or v1 grants; Infinity without a quota. */
function quotaCores(): number {
  const [quota, period] = firstText('/sys/fs/cgroup/cpu.max')?.split(/\s+/) ?? [
    firstText('/sys/fs/cgroup/cpu/cpu.cfs_quota_us'),
    firstText('/sys/fs/cgroup/cpu/cpu.cfs_period_us'),
  ];
  const cores = Number(quota) / Number(period);
  return Number.isFinite(cores) && cores > 0 ? Math.ceil(cores) : Infinity;
}

function firstText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return undefined;
  }
}

const productSeconds = 0.05;
const peakSide = 1024;

/** Best flops a second of a dense float32 product on `threads` threads, measured now: utilisation and MFU are shares of it. */
export function measurePeak(threads: number): Promise<number> {
  return measureProduct([peakSide, peakSide, peakSide], threads);
}

/** Best flops a second of X [rows, inner] times W [inner, columns], the weight stored as a Linear's is. */
export function measureProduct(
  [rows, inner, columns]: readonly [rows: number, inner: number, columns: number],
  threads: number,
): Promise<number> {
  return binding().measureProduct({ rows, inner, columns, seconds: productSeconds, threads });
}
