/** Types of the addon (native/addon). What all parts of the addon share: matrices, cancelling, devices, and what the build and the machine offer. */
import type { NativeModelConfig } from './configs.js';

/** Row-major float32 matrix. */
export type Matrix = { data: Float32Array; shape: [rows: number, columns: number] };

/** A flag shared with native jobs: cancel() ends the jobs that carry it between two layers or kernel blocks. */
export interface NativeCancel {
  cancel(): void;
}

export type NativePrecision = 'float32' | 'bfloat16' | 'int8';

/** Where towers run, and in which number type; on a CPU in float32 alone. */
export interface NativePlacement {
  device: 'cpu' | `cuda:${number}`;
  precision: NativePrecision;
}

/** Mirror of native/device/accelerators.h. */
export interface NativeAccelerators {
  /** libtorch is a CUDA build. */
  readonly inLibtorch: boolean;
  /** This build has the CUDA kernels. */
  readonly inBuild: boolean;
  /** CUDA that libtorch was built for, 1000 * major + 10 * minor; 0 without. */
  readonly runtime: number;
  /** Newest CUDA that the driver runs, alike; 0: no driver. */
  readonly driver: number;
  /** Compute capabilities that the kernels are built for, 10 * major + minor. */
  readonly architectures: readonly number[];
  readonly devices: readonly { name: string; capability: number; memoryBytes: number }[];
  /** Why the devices could not be listed; empty when they were. */
  readonly failure: string;
}

export interface NativeInfo {
  /** libtorch version, e.g. `2.13.0`. */
  readonly libtorch: string;
  readonly cuda: NativeAccelerators;
  /** The build found the system's libjpeg-turbo. */
  readonly jpeg: boolean;
  /** What the processor reports, e.g. `AVX512`; the features found, such as `avx2` and `avx512_vnni`; how products of int8 and of bfloat16 are formed. */
  readonly cpu: {
    capability: string;
    features: string[];
    int8: 'portable' | 'avx2' | 'avx_vnni' | 'avx512_vnni';
    bfloat16: 'portable' | 'avx512_bf16';
  };
  /** Threads one native job uses by default. */
  readonly threads: number;
  /** The constants of native/model/config.h and native/train/config.h, in the shape of the config. */
  readonly defaults: { model: NativeModelConfig; train: Record<string, unknown> };
}
