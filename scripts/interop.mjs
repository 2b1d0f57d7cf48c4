#!/usr/bin/env node
// Public tools in Python read what cots writes: shards, parquet, npy. They are pinned in test/interop/requirements.txt and
// live in a venv of their own under the cache folder.

import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheFolder, root, SetupError } from './setup/project.mjs';
import { lastLines, run } from './setup/run.mjs';
import { python } from './setup/wheel.mjs';
import { setUp } from './setup.mjs';
import { finish, runStages } from './testing/summary.mjs';

const kRequirements = join(root, 'test/interop/requirements.txt');

/** The venv's Python, made at its first use: whole under its name or not there. */
async function bringTools() {
  const key = createHash('sha256').update(readFileSync(kRequirements)).digest('hex').slice(0, 12);
  const folder = join(cacheFolder(), `interop-${key}`);
  const binary = join(folder, 'bin/python');
  const stamp = join(folder, 'whole');
  if (existsSync(stamp)) return binary;
  rmSync(folder, { recursive: true, force: true });
  await need(python(), ['-m', 'venv', folder], 'python3 -m venv');
  await need(
    binary,
    ['-m', 'pip', 'install', '--disable-pip-version-check', '-q', '--only-binary=:all:', '-r', kRequirements],
    'pip install of the tools in test/interop/requirements.txt',
  );
  writeFileSync(`${stamp}.tmp`, '');
  renameSync(`${stamp}.tmp`, stamp);
  return binary;
}

async function need(command, args, what) {
  const { code, output } = await run(command, args, { cwd: root });
  if (code !== 0) throw new SetupError(`${what} failed: ${lastLines(output)}`);
}

/** What the tools are to read, made by the command line as a user would. */
async function makeFiles(folder) {
  const { makeShapes, tinyConfig } = await import(join(root, 'dist/test/support/tiny.js'));
  const { stringify } = await import('yaml');
  const manifest = await makeShapes(folder, 7);
  const config = join(folder, 'config.yaml');
  const settings = { train: { batchSize: 4, steps: 1, threads: 1, seed: 7, out: join(folder, 'run') } };
  writeFileSync(config, stringify(tinyConfig(manifest, join(folder, 'run'), settings)));
  const cots = (...args) =>
    need(
      process.execPath,
      [join(root, 'dist/lib/cli/main.js'), ...args],
      `cots ${args.slice(0, 2).join(' ')}`,
    );
  await cots('data', 'pack', manifest, '--out', join(folder, 'shards'), '--shard-items', '3');
  await cots('data', 'pack', manifest, '--out', join(folder, 'small'), '--size', '16');
  await cots('train', '--config', config);
  const model = join(folder, 'run/latest');
  await cots('embed', 'images', manifest, '--model', model, '--out', join(folder, 'embeddings'));
  await cots('embed', 'texts', manifest, '--model', model, '--out', join(folder, 'texts'));
  await cots('index', join(folder, 'embeddings'), '--out', join(folder, 'index'));
}

async function readBack() {
  const folder = mkdtempSync(join(tmpdir(), 'cots-interop-'));
  try {
    const tools = await bringTools();
    await makeFiles(folder);
    const script = join(root, 'test/interop/read_with_public_tools.py');
    const args = [script, folder, join(root, 'test/reference/fixtures/formats')];
    const { code, output } = await run(tools, args, { cwd: root, show: true });
    const passed = output.match(/^ok /gm)?.length ?? 0;
    const failed = output.match(/^not ok /gm)?.length ?? 0;
    return { passed, failed: code !== 0 || passed === 0 ? Math.max(failed, 1) : failed, skipped: 0 };
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.log(`not ok: ${error.message}`);
    return { passed: 0, failed: 1, skipped: 0 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

await setUp();
finish(await runStages([{ name: 'public tools', run: readBack }]));
