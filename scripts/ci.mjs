#!/usr/bin/env node
// What continuous integration runs: npm test, public tools reading our files, the native tests under sanitizers, and the
// ava suite shared among the other Node versions. Its last line adds them all up.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './setup/project.mjs';
import { run } from './setup/run.mjs';
import { finish, runStages } from './testing/summary.mjs';

/** A script of ours as a stage: it writes its counts to a file, and one that writes none has failed. */
function script(name, command, args) {
  return {
    name,
    run: async () => {
      const folder = mkdtempSync(join(tmpdir(), 'cots-ci-'));
      const file = join(folder, 'counts.json');
      const { code } = await run(command, args, { cwd: root, env: { COTS_TEST_COUNTS: file }, show: true });
      const counts = readCounts(file);
      rmSync(folder, { recursive: true });
      if (code !== 0 && counts.failed === 0) counts.failed = 1;
      return counts;
    },
  };
}

function readCounts(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
}

finish(
  await runStages([
    script('npm test', 'npm', ['test']),
    script('public tools', 'npm', ['run', 'test:interop']),
    script('sanitizers', 'npm', ['run', 'test:sanitize']),
    script('other Node versions', 'npm', ['run', 'test:nodes', '--', '--shared']),
  ]),
);
