/** `cots data noise` on a run whose log is written by the test. */
import { appendFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import sharp from 'sharp';
import { stringify } from 'yaml';
import { openDataset } from '../../lib/data/open.js';
import { writeContactSheet } from '../../lib/inspect/contact-sheet.js';
import { findNoise } from '../../lib/inspect/noise.js';
import { cots } from '../support/cli.js';
import { makeShapes, temporaryFolder, tinyConfig } from '../support/tiny.js';

/** Pair 3 was dropped three times, 5 and 9 once, an unknown one once; the last line is torn. */
async function prepared(t: ExecutionContext): Promise<{ folder: string; run: string; manifest: string }> {
  const folder = await temporaryFolder(t);
  const manifest = await makeShapes(folder, 12);
  const run = path.join(folder, 'run');
  await mkdir(run);
  const source = { path: manifest, weight: 2, split: 'train', images: null };
  await writeFile(
    path.join(run, 'config.yaml'),
    stringify(tinyConfig('', run, { data: { train: [source] } })),
  );
  const drop = (id: string, score: number, step: number): string =>
    `${JSON.stringify({ id, score, threshold: 0.5, step })}\n`;
  await writeFile(
    path.join(run, 'filtered.jsonl'),
    drop('train-3', 0.4, 1) + drop('train-3', 0.3, 2) + drop('train-5', 0.1, 2) + drop('train-9', 0.2, 3),
  );
  await appendFile(
    path.join(run, 'filtered.jsonl'),
    `${drop('train-3', 0.45, 4)}${drop('gone', 0.2, 4)}{"id": "train-7"`.slice(0, -9),
  );
  return { folder, run, manifest };
}

test('pairs by their drops, the others as a manifest with the weights of their sources, and a sheet', async (t) => {
  const { folder, run } = await prepared(t);
  const { code, stdout, stderr } = await cots('data', 'noise', run, '--json');
  t.is(code, 0, stderr);
  t.like(JSON.parse(stdout), {
    entries: 12,
    dropped: 3,
    kept: 9,
    logged: 4,
    unknown: ['gone'],
    ambiguous: [],
    mismatched: null,
  });
  const lines = (await readFile(path.join(run, 'noise', 'noise.jsonl'), 'utf8')).trim().split('\n');
  t.deepEqual(
    lines.map((line) => JSON.parse(line)),
    [
      { id: 'train-3', drops: 3, score: 0.45, threshold: 0.5, step: 4 },
      { id: 'train-5', drops: 1, score: 0.1, threshold: 0.5, step: 2 },
      { id: 'train-9', drops: 1, score: 0.2, threshold: 0.5, step: 3 },
    ],
  );
  const clean = await openDataset(path.join(run, 'noise', 'clean.jsonl'), { use: 'train' });
  t.deepEqual(
    clean.entries.map(({ id, weight }) => [id, weight]),
    [0, 1, 2, 4, 6, 7, 8, 10, 11].map((index) => [`train-${index}`, 2]),
  );
  t.true(clean.entries[0]?.image?.startsWith(folder));
  const sheet = await sharp(path.join(run, 'noise', 'noise.png')).stats();
  t.true(sheet.channels.every(({ min, max }) => min < 60 && max === 255));
  t.is((await findNoise(run, { atLeast: 2 })).dropped.length, 1);
});

test('data that has moved is named with the way out, and found where the user says', async (t) => {
  const { folder, run } = await prepared(t);
  const other = `${folder}-moved`;
  await mkdir(other);
  t.teardown(() => rm(other, { recursive: true }));
  await rename(path.join(folder, 'manifest.jsonl'), path.join(other, 'manifest.jsonl'));
  await rename(path.join(folder, 'images'), path.join(other, 'images'));
  await t.throwsAsync(findNoise(run), {
    code: 'ERR_COTS_DATA',
    message: /no such file.* say where: data\.train=PATH/,
  });
  const { code, stdout, stderr } = await cots(
    'data',
    'noise',
    run,
    `data.train=${path.join(other, 'manifest.jsonl')}`,
  );
  t.is(code, 0, stderr);
  t.regex(stdout, /3 of 12 pairs dropped; clean\.jsonl has the other 9/);
  await t.throwsAsync(findNoise(folder), { code: 'ERR_COTS_FILE', message: /config\.yaml/ });
});

test('an id of two entries is kept; made data says how many were mismatched', async (t) => {
  const { folder, run, manifest } = await prepared(t);
  const twin = path.join(folder, 'twin.jsonl');
  await writeFile(
    twin,
    JSON.stringify({ id: 'train-5', image: 'images/train-0.png', captions: ['a'], mismatched: true }),
  );
  const found = await findNoise(run, { overrides: [`data.train=[${manifest}, ${twin}]`] });
  t.deepEqual(found.ambiguous, ['train-5']);
  t.deepEqual([found.dropped.length, found.kept.length, found.mismatched], [2, 11, 0]);
});

test('a caption of any characters and a picture that is gone give a sheet', async (t) => {
  const file = path.join(await temporaryFolder(t), 'sheet.png');
  const caption = `<&>"' \u0000\u001b[31m \uD800 ${'\u{1F600}'.repeat(40)} ${'long'.repeat(60)}`;
  await writeContactSheet(file, 'a \u0007 title', [{ image: '/gone.jpg', caption, note: '0.1 < 0.2' }]);
  const { width, height } = await sharp(file).metadata();
  t.true(width > 1000 && height > 200);
  await writeContactSheet(file, 'nothing', []);
});
