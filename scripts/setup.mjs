#!/usr/bin/env node
// Sets everything up, or does nothing when nothing changed: tools, packages, libtorch, ffmpeg, the native build,
// the TypeScript build. Plain Node without a dependency, since it is what brings the dependencies.
//   node scripts/setup.mjs [--only STEP[,STEP]]

import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { findFfmpeg } from './setup/ffmpeg.mjs';
import { findLibtorch } from './setup/libtorch.mjs';
import { withLock } from './setup/lock.mjs';
import { installPackages } from './setup/packages.mjs';
import { root, SetupError } from './setup/project.mjs';
import { checkTools } from './setup/tools.mjs';

const kSteps = {
  tools: checkTools,
  packages: installPackages,
  libtorch: findLibtorch,
  ffmpeg: findFfmpeg,
  // these two need packages that an earlier step brings, so they are loaded when their turn comes
  native: async (say) => (await import('./setup/native.mjs')).buildNative(say),
  typescript: async (say) => (await import('./setup/typescript.mjs')).buildTypeScript(say),
};

/** Runs the steps (default: all, in order) and prints a line each. Throws SetupError. */
export async function setUp(named = Object.keys(kSteps)) {
  const wanted = named.includes('native') ? [...named, 'tools', 'libtorch'] : named; // it builds with what these find
  const only = Object.keys(kSteps).filter((name) => wanted.includes(name));
  const start = performance.now();
  const tellWaiting = (pid) =>
    console.log(`  another set-up (process ${pid ?? 'unknown'}) is at work here: waiting for it`);
  return withLock(join(root, 'build', '.setup-lock'), tellWaiting, async () => {
    let changed = false;
    for (const [index, name] of only.entries()) {
      changed = (await runStep(name, `${index + 1}/${only.length}`)) || changed;
    }
    console.log(`set-up ${changed ? 'done' : 'had nothing to do'} (${seconds(start)})`);
  });
}

async function runStep(name, number) {
  const start = performance.now();
  try {
    const {
      line,
      details = [],
      did,
    } = await kSteps[name]((text) => console.log(`  ${number} ${name}: ${text}`));
    console.log(`  ${number} ${name.padEnd(10)} ${line}${did ? ` (${seconds(start)})` : ''}`);
    for (const detail of details) console.log(`        ${detail}`);
    return did;
  } catch (error) {
    if (error instanceof SetupError) error.step = `${number} ${name}`;
    throw error;
  }
}

const seconds = (start) => `${((performance.now() - start) / 1000).toFixed(1)} s`;

function stepsOf(args) {
  const at = args.indexOf('--only');
  const names = at < 0 ? undefined : (args[at + 1] ?? '').split(',');
  const unknown = names?.find((name) => !(name in kSteps));
  const extra = args.length - (at < 0 ? 0 : 2);
  if (unknown === undefined && extra === 0) return names;
  console.error(
    `Usage: node scripts/setup.mjs [--only STEP[,STEP]], where STEP is one of ${Object.keys(kSteps).join(', ')}`,
  );
  process.exit(2);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const only = stepsOf(process.argv.slice(2));
  try {
    await setUp(only);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`set-up stopped at step ${error.step ?? 'start'}: ${error.message}`);
    process.exitCode = 1;
  }
}
