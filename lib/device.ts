/** Where work runs, and in which number type. */
import { availableParallelism } from 'node:os';
import * as check from './checks.js';
import { CotsError, OptionError } from './errors.js';

export type Device = 'cpu' | 'cuda' | `cuda:${number}`;
export type Precision = 'float32' | 'bfloat16' | 'int8';

/** The device asked for, `cpu` by default. Throws `ERR_COTS_DEVICE` for one that this build cannot use. */
export function resolveDevice(device: unknown): 'cpu' {
  if (device === undefined || device === 'cpu') return 'cpu';
  if (typeof device === 'string' && /^cuda(:\d+)?$/.test(device)) {
    throw new CotsError('ERR_COTS_DEVICE', `Expected a device of this build, got '${device}'. It has no CUDA kernels: use device 'cpu'.`);
  }

  throw new OptionError(`Expected \`device\` to be 'cpu', 'cuda' or 'cuda:N', got ${check.show(device)}.`);
}

/** The number type asked for, `float32` by default (DESIGN 2.7: set, never chosen by a timing). */
export function resolvePrecision(precision: unknown): 'float32' {
  if (precision === undefined || precision === 'float32') return 'float32';
  const known = check.oneOf('precision', precision, ['float32', 'bfloat16', 'int8']);
  throw new CotsError('ERR_COTS_NOT_IMPLEMENTED', `Expected precision 'float32', got '${known}', which this version does not have on a CPU.`);
}

/** Threads of a native job: the number asked for, else the cores this process may use (affinity and cgroup included). */
export function resolveThreads(threads: unknown): number {
  return threads === undefined || threads === null ? availableParallelism() : check.integer('threads', threads, 1, 1024);
}
