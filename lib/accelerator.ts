/** Which CUDA device a run may use: what the build, the driver and the device allow, and what to do where they do not. */
import type { NativeAccelerators } from './binding.js';
import { CotsError } from './errors.js';

export type CudaDevice = `cuda:${number}`;

/** Kernels are compiled for compute capability 8.0 and up; bfloat16 products came with it. */
const bfloat16Capability = 80;

/** The device of that index, or `ERR_COTS_DEVICE` with what was found and what is wanted. */
export function cudaDevice(index: number, libtorch: string, found: NativeAccelerators): CudaDevice {
  checkBuild(libtorch, found);
  checkDriver(found);
  checkDevice(index, found);
  return `cuda:${index}`;
}

/** Throws `ERR_COTS_DEVICE` where the device has no products of that number type. */
export function checkCudaPrecision(
  precision: 'float32' | 'bfloat16',
  index: number,
  { devices }: NativeAccelerators,
): void {
  const device = devices[index];
  if (precision === 'float32' || device === undefined || device.capability >= bfloat16Capability) return;
  throw unfit(
    `Expected a device of compute capability 8.0 or later for bfloat16, got cuda:${index}, ${describe(device)}. Use precision 'float32'.`,
  );
}

/** CUDA's `13000` as `13.0`. */
export const cudaVersion = (version: number): string =>
  `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`;

/** A compute capability such as 90 as `9.0`. */
export const capabilityText = (capability: number): string =>
  `${Math.floor(capability / 10)}.${capability % 10}`;

/** The architectures of the build, the oldest first. */
export const architecturesText = (architectures: readonly number[]): string =>
  [...architectures]
    .sort((one, other) => one - other)
    .map(capabilityText)
    .join(', ');

export function describe({ name, capability, memoryBytes }: NativeAccelerators['devices'][number]): string {
  return `${name} of compute capability ${capabilityText(capability)} with ${(memoryBytes / 2 ** 30).toFixed(1)} GiB`;
}

function checkBuild(libtorch: string, { inLibtorch, inBuild }: NativeAccelerators): void {
  if (!inLibtorch) {
    throw unfit(
      `Expected a CUDA build of libtorch (2.11 to 2.13, CUDA 13) for device 'cuda', got libtorch ${libtorch} for CPUs alone. Set COTS_LIBTORCH to the folder of one and run \`npm run setup\`, or use device 'cpu'.`,
    );
  }

  if (!inBuild) {
    throw unfit(
      `Expected a build with CUDA kernels for device 'cuda', got one made where there was no nvcc. Install the CUDA 13 toolkit, put nvcc on PATH and run \`npm run setup\`, or use device 'cpu'.`,
    );
  }
}

/** Minor versions of one major version work together: a driver for CUDA 13.0 runs what was built with 13.2. */
function checkDriver({ driver, runtime, failure }: NativeAccelerators): void {
  const wanted = Math.floor(runtime / 1000);
  if (driver === 0) {
    throw unfit(
      `Expected an NVIDIA driver for CUDA ${wanted}, found none. Install one, start the container with the GPU (docker: --gpus all), or use device 'cpu'.`,
    );
  }

  if (Math.floor(driver / 1000) < wanted) {
    throw unfit(
      `Expected an NVIDIA driver for CUDA ${wanted}.0 or later, got one for CUDA ${cudaVersion(driver)}. Update the driver, or set COTS_LIBTORCH to a libtorch of an older CUDA and run \`npm run setup\`.`,
    );
  }

  if (failure !== '') {
    throw unfit(
      `Expected the NVIDIA driver to list its devices, got '${failure}'. Run nvidia-smi to see what is wrong, or use device 'cpu'.`,
    );
  }
}

function checkDevice(index: number, { devices, architectures }: NativeAccelerators): void {
  if (devices.length === 0) {
    throw unfit(
      "Expected a CUDA device, found none. Check nvidia-smi and CUDA_VISIBLE_DEVICES, or use device 'cpu'.",
    );
  }

  const device = devices[index];
  if (device === undefined) {
    throw unfit(
      `Expected a device from cuda:0 to cuda:${devices.length - 1}, got cuda:${index}. Check CUDA_VISIBLE_DEVICES.`,
    );
  }

  // Code of an architecture runs on that one and, compiled by the driver, on every later one.
  if (architectures.some((built) => built <= device.capability)) return;
  throw unfit(
    `Expected a device of a compute capability that the kernels are built for (${architecturesText(architectures)}, or later), got cuda:${index}, ${describe(device)}. Use another device, or build with CMake's -DCMAKE_CUDA_ARCHITECTURES=${device.capability} against a libtorch that has it.`,
  );
}

const unfit = (message: string): CotsError => new CotsError('ERR_COTS_DEVICE', message);
