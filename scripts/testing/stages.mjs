// The stages of the test suite. Each answers `{ passed, failed, skipped }`; a check without cases of its own
// counts as one.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../setup/project.mjs';
import { run } from '../setup/run.mjs';
import { listFiles } from '../setup/stamp.mjs';
import { compileCuda } from './cuda-gate.mjs';

const bin = (name) => join(root, 'node_modules/.bin', name);

/** C++ that we write, which clang-format holds to .clang-format. */
export function nativeSources() {
  const isSource = (name) => /\.(cpp|h|cu|cuh)$/.test(name);
  const ours = (file) => !file.startsWith('native/third_party/');
  return [
    ...listFiles('native', isSource),
    ...listFiles('test/native', isSource),
    ...listFiles('bench/native', isSource),
  ].filter(ours);
}

async function check(command, args) {
  const { code } = await run(command, args, { cwd: root, show: true });
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 };
}

/** The sum of the numbers that the patterns find. */
const sum = (text, patterns) =>
  patterns.reduce((total, pattern) => total + Number(text.match(pattern)?.[1] ?? 0), 0);

/** What a runner counted, and one failure more when its exit code says so or when it ran nothing. */
function settle(code, counts) {
  const isWorse = (code !== 0 && counts.failed === 0) || counts.passed + counts.failed === 0;
  return isWorse ? { ...counts, failed: counts.failed + 1 } : counts;
}

/** How threads wait, as lib/binding.ts sets it: those that spin for long make tests several times slower on a busy machine. */
const kWaiting = { OMP_WAIT_POLICY: 'passive', GOMP_SPINCOUNT: '1000' };

/** Runs a doctest executable. */
export async function runNativeTests(executable, env = {}) {
  if (!existsSync(executable)) return { passed: 0, failed: 1, skipped: 0 };
  const { code, output } = await run(executable, [], { cwd: root, env: { ...kWaiting, ...env }, show: true });
  const line = output.match(/test cases:.*/)?.[0] ?? '';
  return settle(code, {
    passed: sum(line, [/(\d+) passed/]),
    failed: sum(line, [/(\d+) failed/]),
    skipped: sum(line, [/(\d+) skipped/]),
  });
}

/**
 * Runs ava with the Node at `node`; `args` are ava's own. Its summary leaves out what passed beside a failure,
 * and test files that crashed or ran out of time, so the marks are counted: check marks and crosses.
 */
export async function runAva(node, args = []) {
  const cli = join(root, 'node_modules/ava/entrypoints/cli.mjs');
  const { code, output } = await run(node, [cli, ...args], { cwd: root, show: true });
  return settle(code, {
    passed: output.match(/^ *[\u2714\u221a] /gm)?.length ?? 0,
    failed:
      (output.match(/^ *[\u2718\u00d7] /gm)?.length ?? 0) +
      sum(output, [/^\s*(\d+) uncaught exceptions?$/m, /^\s*(\d+) unhandled rejections?$/m]),
    skipped: sum(output, [/^\s*(\d+) tests? skipped$/m, /^\s*(\d+) tests? todo$/m]),
  });
}

/** The stages of `npm test`, in order; `group` is the name that --only takes. */
export const stages = [
  {
    group: 'lint',
    name: 'biome',
    run: () => check(bin('biome'), ['ci', '--error-on-warnings', '--colors=off', '.']),
  },
  {
    group: 'lint',
    name: 'clang-format',
    run: () => check(bin('clang-format'), ['--dry-run', '-Werror', ...nativeSources()]),
  },
  { group: 'lint', name: 'publint', run: () => check(bin('publint'), ['--strict']) },
  { group: 'types', name: 'tsd', run: () => check(bin('tsd'), ['--files', 'test/types/*.test-d.ts']) },
  {
    group: 'native',
    name: 'native tests',
    run: () => runNativeTests(join(root, 'build/Release/cots_native_tests')),
  },
  { group: 'cuda', name: 'CUDA sources', run: () => compileCuda() },
  { group: 'unit', name: 'ava', run: (args) => runAva(process.execPath, args) },
];
