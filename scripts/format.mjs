#!/usr/bin/env node
// Formats everything in place: biome for TypeScript, JavaScript and JSON, clang-format for C++.

import { join } from 'node:path';
import { root } from './setup/project.mjs';
import { run } from './setup/run.mjs';
import { nativeSources } from './testing/stages.mjs';

const bin = (name) => join(root, 'node_modules/.bin', name);
const commands = [
  [bin('biome'), ['check', '--write', '--colors=off', '.']],
  [bin('clang-format'), ['-i', ...nativeSources()]],
];
for (const [command, args] of commands) {
  const { code } = await run(command, args, { cwd: root, show: true });
  if (code !== 0) process.exitCode = 1;
}
