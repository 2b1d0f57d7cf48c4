// The stages of the test suite. Each answers `{ passed, failed, skipped }`; a check without cases of its own
// counts as one.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../setup/project.mjs';
import { run } from '../setup/run.mjs';
import { listFiles } from '../setup/stamp.mjs';

const bin = (name) => join(root, 'node_modules/.bin', name);

/** C++ that we write, which clang-format holds to .clang-format. */
export function nativeSources() {
  const isSource = (name) => /\.(cpp|h|cu|cuh)$/.test(name);
  const ours = (file) => !file.startsWith('native/third_party/');
  return [...listFiles('native', isSource), ...listFiles('test/native', isSource)].filter(ours);
}

async function check(command, args) {
  const { code } = await run(command, args, { cwd: root, show: true });
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 };
}

const number = (text, pattern) => Number(text.match(pattern)?.[1] ?? 0);

/** Counts what a runner says of itself; an exit code that contradicts it is one failure more. */
function count({ code, output }, passed, failed, skipped) {
  const sum = (patterns) => patterns.reduce((total, pattern) => total + number(output, pattern), 0);
  const counts = { passed: sum(passed), failed: sum(failed), skipped: sum(skipped) };
  if ((code !== 0 && counts.failed === 0) || counts.passed + counts.failed === 0) counts.failed += 1;
  return counts;
}

/** Runs a doctest executable. */
export async function runNativeTests(executable, env = {}) {
  if (!existsSync(executable)) return { passed: 0, failed: 1, skipped: 0 };
  const result = await run(executable, [], { cwd: root, env, show: true });
  return count(
    result,
    [/test cases:\s*\d+ \|\s*(\d+) passed/],
    [/passed \|\s*(\d+) failed \|\s*\d+ skipped/],
    [/(\d+) skipped/],
  );
}

/** Runs ava with the Node at `node`; `args` are ava's own. */
export async function runAva(node, args = []) {
  const cli = join(root, 'node_modules/ava/entrypoints/cli.mjs');
  const result = await run(node, [cli, ...args], { cwd: root, show: true });
  const failures = [
    /^\s*(\d+) tests? failed$/m,
    /^\s*(\d+) hooks? failed$/m,
    /^\s*(\d+) uncaught exceptions?$/m,
    /^\s*(\d+) unhandled rejections?$/m,
    /^\s*(\d+) tests? (?:was|were) pending/m,
  ];
  return count(result, [/^\s*(\d+) tests? passed$/m], failures, [
    /^\s*(\d+) tests? skipped$/m,
    /^\s*(\d+) tests? todo$/m,
  ]);
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
  { group: 'unit', name: 'ava', run: (args) => runAva(process.execPath, args) },
];
