#!/usr/bin/env node
// The ava suite under other Node versions, with the addon that this one built. Their binaries come as npm packages.
//   node scripts/test-nodes.mjs [--shared] [VERSION ...] [-- arguments for ava]
// --shared: each test file on one of the versions, in turn, which takes as long as the suite on one.

import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { cacheFolder, root, SetupError } from './setup/project.mjs';
import { capture, lastLines, run } from './setup/run.mjs';
import { listFiles } from './setup/stamp.mjs';
import { setUp } from './setup.mjs';
import { runAva } from './testing/stages.mjs';
import { finish, runStages } from './testing/summary.mjs';

const kVersions = ['22', '24'];

/** The path of Node's binary of a major version, brought into the cache at its first use. */
async function bringNode(major) {
  const name = `node-${process.platform}-${process.arch}`;
  const folder = join(cacheFolder(), `node-${major}`);
  const binary = join(folder, 'node_modules', name, 'bin/node');
  if (existsSync(binary) && capture(binary, ['--version'])?.startsWith(`v${major}.`)) return binary;
  rmSync(folder, { recursive: true, force: true });
  const args = ['install', '--prefix', folder, '--no-audit', '--no-fund', '--no-save', `${name}@${major}`];
  const { code, output } = await run('npm', args, { cwd: root });
  if (code !== 0) throw new SetupError(`npm brought no ${name}@${major}: ${lastLines(output)}`);
  return binary;
}

/** A stage for each version; `args` are ava's. */
export function nodeStages(versions, args, isShared) {
  return versions.map((major, turn) => ({
    name: `ava, node ${major}`,
    run: async () => {
      const files = isShared ? testFiles().filter((_, index) => index % versions.length === turn) : [];
      return runAva(await bringNode(major), [...args, ...files]);
    },
  }));
}

const testFiles = () => listFiles('dist/test', (name) => name.endsWith('.test.js'));

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const given = process.argv.slice(2);
  const split = given.includes('--') ? given.indexOf('--') : given.length;
  const [own, args] = [given.slice(0, split), given.slice(split + 1)];
  await setUp();
  const versions = own.filter((word) => word !== '--shared');
  finish(
    await runStages(nodeStages(versions.length > 0 ? versions : kVersions, args, own.includes('--shared'))),
  );
}
