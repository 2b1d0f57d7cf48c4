/** What every benchmark says of the machine and the versions it ran on. */
import { cpus, totalmem } from 'node:os';
import sharp from 'sharp';
import { binding } from '../binding.js';
import type { ResolvedDevice } from '../device.js';

export interface BenchContext {
  readonly device: ResolvedDevice;
  /** Threads of native work. */
  readonly threads: number;
  /** Largest resident memory of this process so far. */
  readonly peakMemoryBytes: number;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly capability: string;
    readonly features: readonly string[];
    readonly memoryBytes: number;
    /** Of the GPU that was used. */
    readonly accelerator?: { readonly name: string; readonly memoryBytes: number };
  };
  readonly versions: {
    readonly node: string;
    readonly libtorch: string;
    readonly sharp: string;
    readonly libvips: string;
  };
}

/** Read it last, when the memory peak is known. */
export function benchContext(threads: number, device: ResolvedDevice = 'cpu'): BenchContext {
  const { cpu, cuda, libtorch } = binding().info();
  const accelerator = device === 'cpu' ? undefined : cuda.devices[Number(device.split(':')[1])];
  return {
    device,
    threads,
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown',
      cores: cpus().length,
      capability: cpu.capability,
      features: cpu.features,
      memoryBytes: totalmem(),
      ...(accelerator === undefined ? {} : { accelerator }),
    },
    versions: {
      node: process.versions.node,
      libtorch,
      sharp: sharp.versions.sharp ?? 'unknown',
      libvips: sharp.versions.vips,
    },
  };
}
