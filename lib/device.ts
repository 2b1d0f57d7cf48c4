/** Where work runs, and in which number type. */
import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { type CudaDevice, checkCudaPrecision, cudaDevice } from './accelerator.js';
import { binding, type NativeInfo, type NativePlacement } from './binding.js';
import * as check from './checks.js';
import { CotsError, OptionError } from './errors.js';

export type Device = 'cpu' | 'cuda' | `cuda:${number}`;
export type Precision = 'float32' | 'bfloat16' | 'int8';

/** A device with its index: what the native part is told. */
export type ResolvedDevice = 'cpu' | CudaDevice;
/** What a device is checked against: of this machine, unless a test says otherwise. */
export type Machine = Pick<NativeInfo, 'libtorch' | 'cuda' | 'cpu'>;

/** The device asked for, `cpu` by default and `cuda:0` for `cuda`. Throws `ERR_COTS_DEVICE` for one that this build or machine cannot use. */
export function resolveDevice(device: unknown, machine?: Machine): ResolvedDevice {
  if (device === undefined || device === 'cpu') return 'cpu';
  if (typeof device !== 'string' || !/^cuda(:\d{1,3})?$/.test(device))
    throw new OptionError(`Expected \`device\` to be 'cpu', 'cuda' or 'cuda:N', got ${check.show(device)}.`);
  const { libtorch, cuda } = machine ?? binding().info();
  return cudaDevice(indexOf(device), libtorch, cuda);
}

/**
 * The number type asked for; by default float32 on a CPU and bfloat16 on CUDA (DESIGN 2.7: set, never chosen by a timing).
 * Throws `ERR_COTS_NOT_IMPLEMENTED` for one that this version has not there, `ERR_COTS_DEVICE` for one that the device has not.
 */
export function resolvePrecision(
  precision: unknown,
  device: ResolvedDevice = 'cpu',
  machine?: Machine,
): Precision {
  const isCpu = device === 'cpu';
  if (precision === undefined) precision = isCpu ? 'float32' : 'bfloat16';
  const known = check.oneOf('precision', precision, ['float32', 'bfloat16', 'int8']);
  if (isCpu) return known;
  if (known === 'int8')
    throw new CotsError(
      'ERR_COTS_NOT_IMPLEMENTED',
      "Expected precision 'float32' or 'bfloat16', got 'int8', which this version does not have on a GPU.",
    );
  checkCudaPrecision(known, indexOf(device), (machine ?? binding().info()).cuda);
  return known;
}

const indexOf = (device: string): number => Number(device.split(':')[1] ?? 0);

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
/** A GPU needs more work for its rate to show. */
const acceleratorPeakSide = 8192;
const onCpu: NativePlacement = { device: 'cpu', precision: 'float32' };

/** Best flops a second of a dense product on `threads` threads or a GPU, measured now: utilisation and MFU are shares of it. */
export function measurePeak(threads: number, placement: NativePlacement = onCpu): Promise<number> {
  const side = placement.device === 'cpu' ? peakSide : acceleratorPeakSide;
  return measureProduct([side, side, side], threads, placement);
}

/** Best flops a second of X [rows, inner] times W [inner, columns], the weight stored as a Linear's is. */
export function measureProduct(
  [rows, inner, columns]: readonly [rows: number, inner: number, columns: number],
  threads: number,
  placement: NativePlacement = onCpu,
): Promise<number> {
  return binding().measureProduct({ rows, inner, columns, seconds: productSeconds, threads, ...placement });
}
