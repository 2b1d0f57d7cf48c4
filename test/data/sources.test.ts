/** What stands for several files, sources with weights, and shards of one name. */
import { cp, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { openDataset } from '../../lib/data/open.js';
import { Sampler } from '../../lib/data/sampler.js';
import { expandSources } from '../../lib/data/sources.js';
import { openSources } from '../../lib/data/training-set.js';
import { fixturePath } from '../support/fixtures.js';
import { temporaryFolder } from './temporary.js';

test('braces, wildcards and joins', async (t) => {
  const folder = await temporaryFolder(t);
  const names = ['a-0.tar', 'a-1.tar', 'b.tar', 'c{1}.tar', 'd[x].tar'];
  for (const name of names) await writeFile(path.join(folder, name), '');
  await mkdir(path.join(folder, 'deep'));
  await writeFile(path.join(folder, 'deep', 'e.tar'), '');
  const expand = async (given: string): Promise<string[]> =>
    (await expandSources(given)).map((file) => path.relative(folder, file));
  const at = (name: string): string => path.join(folder, name);
  t.deepEqual(await expand(at('a-*.tar')), ['a-0.tar', 'a-1.tar']);
  t.deepEqual(await expand(at('**/?.tar')), ['b.tar', 'deep/e.tar']);
  t.deepEqual(await expand(at('{b,a-{0..1}}.tar')), ['b.tar', 'a-0.tar', 'a-1.tar']);
  t.deepEqual(await expand(`${at('b.tar')}::${at('a-0.tar')}`), ['b.tar', 'a-0.tar']);
  t.deepEqual(await expand(at('c{1}.tar')), ['c{1}.tar']);
  t.deepEqual(await expand(at('d[x].tar')), ['d[x].tar']);
  t.deepEqual(await expandSources('s3://b/{08..10}.tar'), [
    's3://b/08.tar',
    's3://b/09.tar',
    's3://b/10.tar',
  ]);
  await t.throwsAsync(expandSources(at('z*.tar')), { code: 'ERR_COTS_DATA', message: /matches none/ });
  await t.throwsAsync(expandSources('a.tar::'), { code: 'ERR_COTS_DATA', message: /the one that is empty/ });
});

test('shards of one name in two folders have two ids; forms are mixed', async (t) => {
  const folder = await temporaryFolder(t);
  const shard = fixturePath('formats/webdataset/pairs-000000.tar');
  for (const name of ['one', 'two']) {
    await mkdir(path.join(folder, name));
    await cp(shard, path.join(folder, name, '00000.tar'));
  }

  const { entries } = await openDataset(path.join(folder, '{one,two}', '00000.tar'));
  t.deepEqual([entries[0]?.id, entries[3]?.id], ['one/00000/000000000', 'two/00000/000000000']);
  const mixed = await openDataset(
    `${path.join(folder, 'one', '00000.tar')}::${fixturePath('formats/manifest/manifest.jsonl')}`,
  );
  t.deepEqual([mixed.kind, mixed.entries.length, mixed.files], ['mixed', 7, 2]);
});

test('weights of sources and of entries are the shares of the draws', async (t) => {
  const folder = await temporaryFolder(t);
  const write = async (name: string, count: number, weight?: number): Promise<string> => {
    const lines = Array.from({ length: count }, (_, index) =>
      JSON.stringify({ id: `${name}${index}`, image: 'x', captions: ['x'], weight }),
    );
    await writeFile(path.join(folder, name), lines.join('\n'));
    return path.join(folder, name);
  };
  const source = { split: null, images: null, columns: null };
  const { entries, weights } = await openSources(
    [
      { ...source, path: await write('a.jsonl', 30), weight: 1 },
      { ...source, path: await write('b.jsonl', 10), weight: 3 },
      { ...source, path: await write('c.jsonl', 20, 0.5), weight: 0.3 },
    ],
    'train',
  );
  const sampler = new Sampler({ seed: 5, items: entries.length, captions: () => 1, weights });
  const counts = { a: 0, b: 0, c: 0 };
  const draws = 63 * 100; // an epoch is 30 + 10 * 3 + 20 * 0.15 = 63
  for (let index = 0; index < draws; index++)
    counts[entries[sampler.next().item]?.id[0] as keyof typeof counts]++;
  t.deepEqual([counts.a, counts.b], [3000, 3000]);
  t.is(counts.c, 300);
});
