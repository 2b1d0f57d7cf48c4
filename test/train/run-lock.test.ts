/** One run a folder: who is kept out, and which lock is taken over. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { Trainer } from '../../lib/index.js';
import { RunLock } from '../../lib/train/run-lock.js';
import { temporaryFolder } from '../support/tiny.js';
import { fresh, refusal } from './runs.js';

const lockModule = new URL('../../lib/train/run-lock.js', import.meta.url).href;

/** Another process that takes the lock and keeps it until it is killed. */
async function holderOf(t: ExecutionContext, folder: string): Promise<ChildProcess> {
  const work = `const { RunLock } = await import(${JSON.stringify(lockModule)});
    await RunLock.take(${JSON.stringify(folder)}); console.log('held'); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', work], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return child;
}

const ended = (child: ChildProcess): Promise<unknown> =>
  new Promise((resolve) => child.once('close', resolve));
const lockOf = (folder: string): string => path.join(folder, 'run.lock');

test('a folder that a living process has is refused with who it is, and free once that one is killed', async (t) => {
  const folder = await temporaryFolder(t);
  const child = await holderOf(t, folder);
  await refusal(
    t,
    () => RunLock.take(folder),
    'ERR_COTS_BUSY',
    new RegExp(`process ${child.pid} on .* since .*set train\\.out`),
  );
  child.kill('SIGKILL');
  await ended(child);
  t.true(existsSync(lockOf(folder)), 'a killed process leaves its lock');
  const lock = await RunLock.take(folder);
  t.is((JSON.parse(await readFile(lockOf(folder), 'utf8')) as { pid: number }).pid, process.pid);
  lock.release();
  lock.release();
  t.deepEqual(await readdir(folder), []);
});

test('of many that find a stale lock at once one takes it', async (t) => {
  const folder = await temporaryFolder(t);
  const child = await holderOf(t, folder);
  child.kill('SIGKILL');
  await ended(child);
  const stale = await readFile(lockOf(folder), 'utf8');
  for (let round = 0; round < 50; round++) {
    await writeFile(lockOf(folder), stale);
    // A turn of the event loop apart, one looks at the lock before another has taken it over and acts after.
    const takers = Array.from({ length: 16 }, async (_, taker) => {
      for (let turn = 0; turn < taker * (round % 2); turn++) await setImmediate();
      return RunLock.take(folder);
    });
    const taken = await Promise.allSettled(takers);
    const locks = taken.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    t.is(locks.length, 1, `round ${round}`);
    for (const lock of locks) lock.release();
    t.deepEqual(await readdir(folder), []);
  }
});

test('what a process that was killed while it took a stale lock left is removed after a while', async (t) => {
  const folder = await temporaryFolder(t);
  const guard = path.join(folder, '.unfinished-run.lock');
  await writeFile(lockOf(folder), '{"pid":');
  await writeFile(guard, '');
  const age = async (file: string, seconds: number): Promise<void> => {
    const then = new Date(Date.now() - 1000 * seconds);
    await utimes(file, then, then);
  };
  await age(lockOf(folder), 61);
  await refusal(t, () => RunLock.take(folder), 'ERR_COTS_BUSY', /\.unfinished-run\.lock.*after 60 s/);
  t.true(existsSync(guard), 'a fresh one is waited for');
  await age(guard, 61);
  const lock = await RunLock.take(folder);
  t.deepEqual(await readdir(folder), ['run.lock']);
  lock.release();
});

test('a process id that is used again is not the holder', async (t) => {
  const folder = await temporaryFolder(t);
  const lock = await RunLock.take(folder);
  const holder = JSON.parse(await readFile(lockOf(folder), 'utf8')) as { start: string };
  if (holder.start === '') return t.pass('only Linux tells when a process began');
  await writeFile(lockOf(folder), JSON.stringify({ ...holder, start: '1' }));
  const other = await RunLock.take(folder);
  lock.release();
  t.true(existsSync(lockOf(folder)), 'a lock that was taken over is not deleted by its first holder');
  other.release();
  return t.false(existsSync(lockOf(folder)));
});

for (const [name, text] of [
  [
    'of another machine',
    JSON.stringify({ pid: 1, host: 'elsewhere', machine: 'other', start: '5', since: 'x' }),
  ],
  ['whose writer was killed', '{"pid":'],
] as const) {
  test(`a lock ${name} holds while it is renewed, and no longer`, async (t) => {
    const folder = await temporaryFolder(t);
    await writeFile(lockOf(folder), text);
    await refusal(t, () => RunLock.take(folder), 'ERR_COTS_BUSY', /sign of life is \d s old/);
    const old = new Date(Date.now() - 61_000);
    await utimes(lockOf(folder), old, old);
    (await RunLock.take(folder)).release();
  });
}

test('a second trainer of a folder is refused, and not once the first is disposed', async (t) => {
  const { out, config } = await fresh(t);
  const first = await Trainer.create(config);
  await refusal(t, () => Trainer.create(config), 'ERR_COTS_BUSY', /no other run writes/);
  first.dispose();
  const second = await Trainer.create(config);
  second.dispose();
  t.false(existsSync(lockOf(out)));
});

test('a run that cannot begin leaves neither a lock nor a folder', async (t) => {
  const { folder, out, config } = await fresh(t);
  const missing = { ...config, data: { ...config.data, train: path.join(folder, 'none.jsonl') } };
  await t.throwsAsync(Trainer.create(missing));
  t.false(existsSync(out));
});
