#!/usr/bin/env node
// The native tests under sanitizers, in a build folder of their own (no addon, no Node).
//   COTS_SANITIZE=address,undefined node scripts/sanitize.mjs

import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildEnvironment, jobs } from './setup/native.mjs';
import { readState, root } from './setup/project.mjs';
import { run } from './setup/run.mjs';
import { setUp } from './setup.mjs';
import { runNativeTests } from './testing/stages.mjs';
import { finish, runStages } from './testing/summary.mjs';

const kFolder = 'build-sanitize';
// libtorch is not instrumented and keeps what it allocates at start until the process ends, so leaks are left to
// the test that watches the memory of a running process.
const kOptions = {
  ASAN_OPTIONS:
    'detect_leaks=0:strict_string_checks=1:detect_stack_use_after_return=1:check_initialization_order=1',
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
};

async function buildAndTest() {
  const sanitizers = process.env.COTS_SANITIZE || 'address,undefined';
  const { libtorch, tools } = readState();
  const generator = /ninja$/.test(tools.maker.path) ? 'Ninja' : 'Unix Makefiles';
  const definitions = [`-DCOTS_SANITIZE=${sanitizers}`, `-DCOTS_LIBTORCH=${libtorch.folder}`];
  const commands = [
    ['-S', root, '-B', join(root, kFolder), '-G', generator, ...definitions],
    ['--build', join(root, kFolder), '--parallel', String(jobs())],
  ];
  for (const args of commands) {
    const { code } = await run('cmake', args, { cwd: root, env: buildEnvironment(), show: true });
    if (code !== 0) return { passed: 0, failed: 1, skipped: 0 };
  }
  return runNativeTests(join(root, kFolder, 'Release/cots_native_tests'), kOptions);
}

export const sanitizeStage = { name: 'sanitizers', run: buildAndTest };

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await setUp(['tools', 'packages', 'libtorch']);
  finish(await runStages([sanitizeStage]));
}
