/**
 * Runs the definitions one after the other and keeps each answer: `node dist/bench/run.js [NAME...]`, or `--device cuda` for
 * those of a GPU. Wants a quiet machine.
 */
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { packageRoot } from '../lib/binding.js';
import { resolveDevice } from '../lib/device.js';
import { definitions } from './definitions.js';
import { busyShare } from './peers/busy.js';

const main = fileURLToPath(new URL('../lib/cli/main.js', import.meta.url));
const results = path.join(packageRoot(), 'bench', 'results');

const onGpu = process.argv[2] === '--device' && process.argv[3] === 'cuda';
const names = process.argv.slice(onGpu ? 4 : 2);
if (onGpu) refuseWithoutGpu();
const unknown = names.find((name) => !definitions.some((definition) => definition.name === name));
if (unknown !== undefined) {
  console.error(`No definition '${unknown}'. There are: ${definitions.map(({ name }) => name).join(', ')}.`);
  process.exit(2);
}

await mkdir(results, { recursive: true });
const chosen = definitions.filter(({ name, device }) =>
  names.length > 0 ? names.includes(name) : onGpu === (device === 'cuda'),
);
for (const { name, arguments: given } of chosen) {
  const busyBefore = await busyShare();
  if (busyBefore > 0.1)
    console.error(`Other work takes ${(100 * busyBefore).toFixed(0)} % of the machine: figures will be low.`);
  const { stdout } = await promisify(execFile)(process.execPath, [main, 'bench', ...given, '--json'], {
    cwd: packageRoot(),
    maxBuffer: 2 ** 26,
  });
  const record = {
    name,
    command: ['cots', 'bench', ...given, '--json'].join(' '),
    measured: new Date().toISOString(),
    busyBefore,
    result: JSON.parse(stdout) as unknown,
  };
  await writeFile(path.join(results, `${name}.json`), `${JSON.stringify(record, null, 2)}\n`);
  console.log(`${name}: bench/results/${name}.json`);
}

function refuseWithoutGpu(): void {
  try {
    resolveDevice('cuda');
  } catch (error) {
    console.error((error as Error).message);
    process.exit(1);
  }
}
