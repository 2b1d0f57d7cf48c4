// The compile gate of all that is CUDA: cuda.cpp and nccl.cpp of native/device and every source of native/ops/cuda, warnings as
// errors, kernels for each architecture. It needs nvcc but neither a GPU nor a CUDA libtorch: the headers of a CPU libtorch do, and nothing is linked.

import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { readState, root } from '../setup/project.mjs';
import { findOnPath, isExecutable, run } from '../setup/run.mjs';
import { listFiles } from '../setup/stamp.mjs';

export const kArchitectures = ['90a', '80'];
const kFlags = [
  '-std=c++20',
  '--expt-relaxed-constexpr',
  ...['-Werror', 'all-warnings', '-Xcompiler', '-Wall,-Wextra,-fPIC'],
  ...['-DCOTS_WITH_CUDA', `-DCOTS_CUDA_ARCHITECTURES="${kArchitectures.join(',')}"`],
];

/** nvcc of COTS_NVCC, of PATH, of CUDA_HOME or of the usual folder; undefined when there is none. */
export function findNvcc() {
  if (process.env.COTS_NVCC !== undefined) return findOnPath(process.env.COTS_NVCC);
  const homes = [process.env.CUDA_HOME, process.env.CUDA_PATH, '/usr/local/cuda'].filter(Boolean);
  return findOnPath('nvcc') ?? homes.map((home) => join(home, 'bin/nvcc')).find(isExecutable);
}

/** One compilation a source and architecture; the plain C++ around the kernels is compiled once. */
export function compilations(sources) {
  return sources.flatMap((source) =>
    source.endsWith('.cu')
      ? kArchitectures.map((architecture) => ({ source, architecture }))
      : [{ source, architecture: 'host' }],
  );
}

function command(nvcc, { source, architecture }, folder, libtorch) {
  const include = join(libtorch, 'include');
  const system = [include, join(include, 'torch/csrc/api/include'), join(root, 'scripts/testing/cuda-stub')];
  const target =
    architecture === 'host'
      ? ['-O0']
      : ['-O3', '-gencode', `arch=compute_${architecture},code=sm_${architecture}`];
  const output = join(folder, `${basename(source)}.${architecture}.o`);
  return [
    nvcc,
    ...kFlags,
    ...target,
    ...['-I', join(root, 'native')],
    ...system.flatMap((path) => ['-isystem', path]),
    ...['-c', join(root, source), '-o', output],
  ];
}

/** Compiles everything, two or more at a time. Answers the counts, and a note where there is no nvcc. */
export async function compileCuda(sources = cudaSources()) {
  const nvcc = findNvcc();
  if (!nvcc) {
    const note = 'the CUDA compile gate did not run: no nvcc found';
    console.log(note);
    return { passed: 0, failed: 0, skipped: 0, notes: [note] };
  }
  const ccache = findOnPath('ccache');
  const folder = mkdtempSync(join(tmpdir(), 'cots-cuda-'));
  const queue = compilations(sources);
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const work = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const [first, ...args] = [
        ...(ccache ? [ccache] : []),
        ...command(nvcc, next, folder, readState().libtorch.folder),
      ];
      const { code, output } = await run(first, args, { cwd: root, env: { CCACHE_NOHASHDIR: '1' } });
      counts[code === 0 ? 'passed' : 'failed'] += 1;
      const title = `${next.source} for ${next.architecture === 'host' ? 'the host' : `sm_${next.architecture}`}`;
      console.log(code === 0 ? `compiled ${title}` : `FAILED ${title}\n${output}`);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.max(1, Math.min(availableParallelism(), 8)) }, work));
  } finally {
    rmSync(folder, { recursive: true });
  }
  return counts;
}

export function cudaSources() {
  const kernels = listFiles('native/ops/cuda', (name) => /\.(cu|cpp)$/.test(name));
  return ['native/device/cuda.cpp', 'native/device/nccl.cpp', ...kernels];
}
