/** Shards that stay open between reads. */
import { readdir, readlink, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { withKeptFile } from '../../lib/data/shards/kept-files.js';
import { temporaryFolder } from './temporary.js';

const read = (file: string): Promise<string> =>
  withKeptFile(file, async (source) => String(await source.read(0, 100)));

/** Files of a folder that this process has open. */
const openFiles = async (folder: string): Promise<string[]> => {
  const links = (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => ''));
  return (await Promise.all(links)).filter((target) => target.startsWith(folder));
};

test.serial('a file is opened once, and again when it was replaced, has changed or is gone', async (t) => {
  const folder = await temporaryFolder(t);
  const file = path.join(folder, 'a.tar');
  await writeFile(file, 'one');
  t.deepEqual(await Promise.all([read(file), read(file)]), ['one', 'one']);
  t.is(await read(file), 'one');
  t.deepEqual(await openFiles(folder), [file]);
  await writeFile(path.join(folder, 'b.tar'), 'two');
  await rename(path.join(folder, 'b.tar'), file);
  t.is(await read(file), 'two');
  await writeFile(file, 'two and more');
  t.is(await read(file), 'two and more');
  await rm(file);
  await t.throwsAsync(read(file), { code: 'ENOENT' });
});

test.serial('a file that could not be read is not kept', async (t) => {
  const folder = await temporaryFolder(t);
  const file = path.join(folder, 'a.tar');
  await writeFile(file, 'one');
  const failing = withKeptFile(file, async (source) => {
    await source.read(0, 1);
    throw new Error('broken');
  });
  await t.throwsAsync(failing, { message: 'broken' });
  for (let turn = 0; turn < 100 && (await openFiles(folder)).length > 0; turn++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  t.deepEqual(await openFiles(folder), []);
});

test.serial('of many files 64 stay open', async (t) => {
  const folder = await temporaryFolder(t);
  const files = Array.from({ length: 80 }, (_, index) => path.join(folder, `${index}.tar`));
  for (const file of files) {
    await writeFile(file, file);
    t.is(await read(file), file.slice(0, 100));
  }

  for (let turn = 0; turn < 100 && (await openFiles(folder)).length > 64; turn++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  t.is((await openFiles(folder)).length, 64);
  t.is(await read(files[0] as string), (files[0] as string).slice(0, 100));
});
