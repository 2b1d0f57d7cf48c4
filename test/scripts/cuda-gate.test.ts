import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { packageRoot } from '../../lib/binding.js';

/** Runs the compile gate as `npm test` does, with this nvcc. */
const runGate = (nvcc: string): { code: number | null; lines: string[] } => {
  const program = `
    const { compileCuda } = await import('./scripts/testing/cuda-gate.mjs');
    const { finish, runStages } = await import('./scripts/testing/summary.mjs');
    finish(await runStages([{ name: 'CUDA sources', run: () => compileCuda() }]));`;
  const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: packageRoot(),
    encoding: 'utf8',
    env: { ...process.env, COTS_NVCC: nvcc, CCACHE_DISABLE: '1' },
  });
  return { code: status, lines: stdout.trim().split('\n') };
};

const fakeNvcc = (t: ExecutionContext, body: string): string => {
  const folder = mkdtempSync(path.join(tmpdir(), 'cots-nvcc-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'nvcc');
  writeFileSync(file, `#!/bin/sh\n${body}\n`);
  chmodSync(file, 0o755);
  return file;
};

const sources = readdirSync(path.join(packageRoot(), 'native/ops/cuda'));
const kernels = sources.filter((name) => name.endsWith('.cu')).length;
/** With cuda.cpp and nccl.cpp of native/device. */
const wrappers = 2 + sources.filter((name) => name.endsWith('.cpp')).length;

test('without nvcc the closing line says that the gate did not run', (t) => {
  const { code, lines } = runGate('/nowhere/nvcc');
  t.is(code, 0);
  t.is(lines.at(-1), '0 passed, 0 failed; the CUDA compile gate did not run: no nvcc found');
});

test('every kernel is compiled for each architecture and every other source once', (t) => {
  const { code, lines } = runGate(fakeNvcc(t, 'exit 0'));
  t.is(code, 0);
  t.is(lines.at(-1), `${2 * kernels + wrappers} passed, 0 failed`);
});

test('a source that does not compile for one architecture is a failure, with what the compiler said', (t) => {
  const { code, lines } = runGate(
    fakeNvcc(t, 'case "$*" in *sm_80*top_k.cu*) echo "top_k.cu(1): error: no"; exit 2;; esac'),
  );
  t.is(code, 1);
  t.is(lines.at(-1), `${2 * kernels + wrappers - 1} passed, 1 failed`);
  t.true(lines.includes('FAILED native/ops/cuda/top_k.cu for sm_80'));
  t.true(lines.includes('top_k.cu(1): error: no'));
});
