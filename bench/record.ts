/** A result of `bench/results`: what was measured, by which command, when and on what machine. */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { benchContext } from '../lib/bench/machine.js';
import { packageRoot } from '../lib/binding.js';
import { writeFileAtomic } from '../lib/write-file.js';

/** Writes NAME.json and tells where. `command`: what measures it again. What `facts` say of the machine or the versions stands. */
export async function writeRecord(
  name: string,
  command: string,
  facts: Readonly<Record<string, unknown>>,
): Promise<void> {
  const { machine, versions } = benchContext(1);
  const file = path.join(packageRoot(), 'bench', 'results', `${name}.json`);
  const record = { name, command, measured: new Date().toISOString(), machine, versions, ...facts };
  await mkdir(path.dirname(file), { recursive: true });
  await writeFileAtomic(file, `${JSON.stringify(record, null, 2)}\n`);
  console.log(path.relative(packageRoot(), file));
}
