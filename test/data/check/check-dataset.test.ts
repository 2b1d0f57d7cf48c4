/** `cots data check` on a data set in which each kind of fault is planted. */
import { cp, readFile, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import type { CheckReport } from '../../../lib/data/check/check-dataset.js';
import { cots } from '../../support/cli.js';
import { makeShapes, temporaryFolder } from '../../support/tiny.js';

test('finds what was planted, and writes a page that needs nothing else', async (t) => {
  const folder = await temporaryFolder(t);
  await makeShapes(folder, 12);
  const at = (name: string): string => path.join(folder, 'images', name);
  await cp(at('train-0.png'), at('copy.png'));
  await cp(at('train-5.png'), at('leak.png'));
  await truncate(at('train-7.png'), 60);
  await writeFile(at('text.png'), 'no picture');
  const lines = (await readFile(path.join(folder, 'manifest.jsonl'), 'utf8')).trim().split('\n');
  const add = (entry: object): number => lines.push(JSON.stringify(entry));
  add({ id: 'copy', image: 'images/copy.png', captions: ['<b>a copy</b> & more'], split: 'train' });
  add({ id: 'leak', image: 'images/leak.png', captions: ['a test picture'], split: 'test' });
  add({ id: 'gone', image: 'images/gone.png', captions: [], split: 'test' });
  add({ id: 'text', image: 'images/text.png', captions: ['...'], split: 'test' });
  add({
    id: 'copy',
    image: 'images/train-1.png',
    captions: [`${'very '.repeat(60)}long`, 'bell\u0007'],
    split: 'train',
  });
  add({ id: 'twice', image: 'images/train-2.png', captions: ['a test picture'], split: 'train' });
  await writeFile(path.join(folder, 'manifest.jsonl'), lines.join('\n'));
  const out = path.join(folder, 'out');
  const { code, stdout, stderr } = await cots('data', 'check', folder, '--out', out, '--json');
  t.is(code, 0, stderr);
  const report = JSON.parse(stdout) as CheckReport;
  t.deepEqual(report, { ...report, ...JSON.parse(await readFile(path.join(out, 'check.json'), 'utf8')) });
  t.deepEqual(report.splits, { train: 15, test: 3 });
  t.like(report.files, { good: 15, missing: 1, unreadable: 2 });
  t.deepEqual(
    report.files.examples.map(({ id, code }) => [id, code]),
    [
      ['train-7', 'ERR_COTS_IMAGE'],
      ['gone', 'ERR_COTS_FILE'],
      ['text', 'ERR_COTS_IMAGE'],
    ],
  );
  t.deepEqual(report.ids, { duplicates: 1, examples: ['copy'] });
  const groups = report.duplicates.examples.map((group) => group.map(({ id }) => id));
  t.true(groups.some((group) => group.includes('train-0') && group.includes('copy')));
  t.deepEqual([report.leaks.groups, report.leaks.images], [1, { train: 1, test: 1 }]);
  t.deepEqual(
    report.leaks.examples[0]?.map(({ id }) => id),
    ['train-5', 'leak'],
  );
  t.like(report.captions, {
    captions: 30,
    anEntry: { 0: 1, 1: 4, 2: 13 },
    blank: 1,
    withControlCharacters: 1,
  });
  t.like(report.captions.duplicates, { texts: 1, captions: 1 });
  t.like(report.captions.tokens, { limit: 40, cut: 1 });
  t.true(report.captions.tokens.longest >= 63);
  t.deepEqual(report.sizes?.width, { least: 24, median: 24, most: 24 });

  const page = await readFile(path.join(out, 'check.html'), 'utf8');
  t.true(page.includes('&lt;b&gt;a copy&lt;/b&gt; &amp; more') && page.includes('data:image/jpeg;base64,'));
  t.false(/(src|href)="(?!data:)/.test(page) || /https?:/.test(page) || page.includes('\u0007'));
  const told = await cots('data', 'check', folder);
  t.regex(told.stdout, /missing files +1\n/);
  t.regex(told.stdout, /leak: train-5 \(train\), leak \(test\)/);
});
