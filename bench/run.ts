/** Runs the definitions one after the other and keeps each answer: `node dist/bench/run.js [NAME...]`. Wants a quiet machine. */
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { packageRoot } from '../lib/binding.js';
import { definitions } from './definitions.js';
import { busyShare } from './peers/busy.js';

const main = fileURLToPath(new URL('../lib/cli/main.js', import.meta.url));
const results = path.join(packageRoot(), 'bench', 'results');

const names = process.argv.slice(2);
const unknown = names.find((name) => !definitions.some((definition) => definition.name === name));
if (unknown !== undefined) {
  console.error(`No definition '${unknown}'. There are: ${definitions.map(({ name }) => name).join(', ')}.`);
  process.exit(2);
}

await mkdir(results, { recursive: true });
for (const { name, arguments: given } of definitions) {
  if (names.length > 0 && !names.includes(name)) continue;
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
