#!/usr/bin/env node
// The ava suite under other Node versions, with the addon that this one built. Their binaries come as npm packages.
//   node scripts/test-nodes.mjs [VERSION ...] [-- arguments for ava]

import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { cacheFolder, root, SetupError } from './setup/project.mjs';
import { capture, lastLines, run } from './setup/run.mjs';
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
export function nodeStages(versions = kVersions, args = []) {
  return versions.map((major) => ({
    name: `ava, node ${major}`,
    run: async () => runAva(await bringNode(major), args),
  }));
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const given = process.argv.slice(2);
  const split = given.includes('--') ? given.indexOf('--') : given.length;
  await setUp();
  const versions = given.slice(0, split);
  finish(await runStages(nodeStages(versions.length > 0 ? versions : kVersions, given.slice(split + 1))));
}
