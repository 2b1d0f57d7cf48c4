/** kill -9 at moments all over a run: nothing but the steps since the last checkpoint is lost, and the end is the same. */
import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { stringify } from 'yaml';
import { readCheckpoint } from '../../lib/train/checkpoint.js';
import { startCots } from '../support/cli.js';
import { makeShapes, temporaryFolder, tinyConfig } from '../support/tiny.js';

const steps = 60;
const delays = [0, 3, 7, 12, 18, 26, 35, 47]; // milliseconds after the first checkpoint line of a process

const newest = async (out: string): Promise<number> => {
  const names: string[] = await readdir(path.join(out, 'checkpoints')).catch(() => []);
  return Math.max(
    0,
    ...names.filter((name) => name.startsWith('step-')).map((name) => Number(name.slice(5))),
  );
};

test('a run killed again and again ends as one that was not', async (t) => {
  t.timeout(240_000);
  const folder = await temporaryFolder(t);
  const manifest = await makeShapes(folder, 24);
  const file = async (name: string): Promise<string> => {
    const config = path.join(folder, `${name}.yaml`);
    await writeFile(
      config,
      stringify(
        tinyConfig(manifest, path.join(folder, name), {
          train: { steps },
          checkpoint: { everySteps: 1, keep: 3 },
        }),
      ),
    );
    return config;
  };
  t.is((await startCots(['train', '--config', await file('whole')]).ended).code, 0);

  const config = await file('killed');
  const out = path.join(folder, 'killed');
  let before = 0;
  let kills = 0;
  for (const delay of delays) {
    let seen = false;
    const { ended } = startCots(['train', '--config', config, '--resume', 'latest'], (stderr, child) => {
      if (seen || !stderr.includes('checkpoint /')) return;
      seen = true;
      setTimeout(() => child.kill('SIGKILL'), delay);
    });
    const { signal, stderr } = await ended;
    t.notRegex(stderr, /left out|cots: /, 'no checkpoint may be torn');
    if (signal === 'SIGKILL') kills++;
    const now = await newest(out);
    t.true(now > before || now === steps, `step ${now} after ${before}`);
    t.is(
      (await readCheckpoint(path.join(out, 'checkpoints', `step-${String(now).padStart(8, '0')}`))).step,
      now,
    );
    before = now;
  }

  t.true(kills >= 5, `${kills} kills hit a running process`);
  t.is((await startCots(['train', '--config', config, '--resume', 'latest']).ended).code, 0);
  for (const name of ['model.safetensors', 'state.safetensors']) {
    const [whole, killed] = await Promise.all(
      ['whole', 'killed'].map(async (run) =>
        createHash('sha256')
          .update(await readFile(path.join(folder, run, 'latest', name)))
          .digest('hex'),
      ),
    );
    t.is(killed, whole, name);
  }

  const stepsOf = async (run: string): Promise<number[]> =>
    (await readFile(path.join(folder, run, 'metrics.jsonl'), 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { step: number }).step);
  t.deepEqual(await stepsOf('killed'), await stepsOf('whole'));
});
