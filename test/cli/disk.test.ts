/** A disk that takes no more (a limit on the size of files, which any user can set): the checkpoint before stays, and the run can go on. */
import { spawn } from 'node:child_process';
import { readdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { stringify } from 'yaml';
import { cots } from '../support/cli.js';
import { makeShapes, temporaryFolder, tinyConfig } from '../support/tiny.js';

const main = fileURLToPath(new URL('../../lib/cli/main.js', import.meta.url));

function limited(kilobytes: number, args: string[]): Promise<{ code: number | null; stderr: string }> {
  return new Promise((resolve) => {
    const command = `trap '' XFSZ; ulimit -f ${kilobytes}; exec "$@"`;
    const child = spawn('bash', ['-c', command, 'bash', process.execPath, main, ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.on('close', (code) => resolve({ code, stderr }));
  });
}

test('a checkpoint that cannot be written fails on one line and leaves the one before', async (t) => {
  const folder = await temporaryFolder(t);
  const config = path.join(folder, 'config.yaml');
  const out = path.join(folder, 'run');
  await writeFile(config, stringify(tinyConfig(await makeShapes(folder, 24), out, { train: { steps: 5 } })));
  t.is((await cots('train', '--config', config)).code, 0);
  const state = await stat(path.join(out, 'latest', 'state.safetensors'));

  const half = Math.floor(state.size / 2048);
  const { code, stderr } = await limited(half, [
    'train',
    '--config',
    config,
    '--resume',
    'latest',
    'train.steps=8',
  ]);
  t.is(code, 1, stderr);
  t.regex(stderr, /^cots: .*state\.safetensors.*ERR_COTS_FILE/m);
  t.deepEqual(await readdir(path.join(out, 'checkpoints')), ['step-00000005']);

  const again = await cots('train', '--config', config, '--resume', 'latest', 'train.steps=8', '--json');
  t.is(again.code, 0, again.stderr);
  t.like(JSON.parse(again.stdout), { step: 8, reason: 'done' });
});
