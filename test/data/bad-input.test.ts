/** Files of others that are broken, hostile or change under the reader (traps: test/reference/make_format_fixtures.py). */
import { appendFileSync } from 'node:fs';
import { appendFile, chmod, cp, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { decodeImage } from '../../lib/data/decode.js';
import { readMedia } from '../../lib/data/media.js';
import { openDataset } from '../../lib/data/open.js';
import { packDataset } from '../../lib/data/pack/pack-dataset.js';
import { CotsError } from '../../lib/errors.js';
import { fileError } from '../../lib/read-file.js';
import { textLines } from '../../lib/text-lines.js';
import { cots } from '../support/cli.js';
import { fixturePath } from '../support/fixtures.js';
import { temporaryFolder } from './temporary.js';

async function copied(t: ExecutionContext, name: string): Promise<string> {
  const file = path.join(await temporaryFolder(t), path.basename(name));
  await cp(fixturePath(`formats/${name}`), file);
  return file;
}

test('names that leave the folder are names only; links, devices and pipes are left out', async (t) => {
  const file = await copied(t, 'traps/names.tar');
  const { entries } = await openDataset(file);
  t.deepEqual(
    entries.map(({ id, captions }) => [id, captions]),
    [
      ['names/../../escape', ['a name that leaves the folder']],
      ['names//etc/absolute', ['an absolute name']],
      ['names/esc\u001b[31m\n', ['a \u001b[31mred\u0007 text\u0000 and', 'another']],
    ],
  );
  t.is((await decodeImage(entries[0]?.image as string)).width, 16);
  const out = path.join(path.dirname(file), 'shards');
  await packDataset(entries, { out, itemsPerShard: 10, side: null });
  const packed = (await openDataset(out)).entries;
  t.deepEqual(
    packed.map(({ id }) => id),
    ['00000/000000000', '00000/000000001', '00000/000000002'],
  );
  t.deepEqual(
    packed.map(({ captions }) => captions),
    entries.map(({ captions }) => captions),
  );
});

test('control characters of a caption or id reach no terminal', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(
    path.join(folder, 'm.jsonl'),
    `${JSON.stringify({ id: 'a\u001b[2J', image: 'gone.jpg', captions: ['x\u001b[31m'], source: 'b\u0007' })}\n`,
  );
  const listed = await cots('data', 'list', path.join(folder, 'm.jsonl'));
  const packed = await cots('data', 'pack', path.join(folder, 'm.jsonl'), '--out', path.join(folder, 'out'));
  t.is(packed.code, 0);
  t.regex(packed.stderr, /left out: a\\x1b\[2J/);
  for (const text of [listed.stdout, listed.stderr, packed.stdout, packed.stderr])
    t.false(text.includes('\u0007') || text.includes('\u001b'), JSON.stringify(text));
});

test('a key that comes twice, a size that no disk holds, a shard cut inside a caption', async (t) => {
  await t.throwsAsync(openDataset(await copied(t, 'traps/twice.tar')), {
    code: 'ERR_COTS_DATA',
    message: /every id .* once, got 'twice\/a'/,
  });
  const huge = await openDataset(await copied(t, 'traps/huge.tar'));
  t.is(huge.entries.length, 1);
  t.regex(huge.warnings[0] ?? '', /huge\.tar ends inside huge\.jpg/);
  t.true((await readMedia(huge.entries[0]?.image as string, 'an image')).length < 2000);

  const cut = await copied(t, 'webdataset/pairs-000000.tar');
  const { entries } = await openDataset(cut);
  const text = (await readFile(cut)).indexOf(entries[1]?.captions[1] as string);
  await truncate(cut, text + 4);
  const list = await cots('data', 'list', cut, '--json');
  t.is(list.code, 0, list.stderr);
  t.like(JSON.parse(list.stdout), { entries: 1 });
  t.regex(list.stderr, /ends inside 000000001\.txt; the 1 samples before are read/);
});

test('endings and fields that do not match are told at the first shard, with what is there', async (t) => {
  const named = await copied(t, 'webdataset-named/000.tar');
  await t.throwsAsync(openDataset(`${named}::gone.tar`), {
    code: 'ERR_COTS_DATA',
    message: /samples with jpg, .*, got files of input\.jpg, output\.txt\. .*--columns image=ENDING/,
  });
  await t.throwsAsync(openDataset(`${named}::gone.tar`, { columns: { image: 'input.jpg' }, use: 'train' }), {
    code: 'ERR_COTS_DATA',
    message: /captions in \.txt, .*got files of input\.jpg, output\.txt without\. .*--columns caption=NAME/,
  });
  const json = await copied(t, 'webdataset-json/000.tar');
  await t.throwsAsync(openDataset(json, { columns: { caption: 'about.words' }, use: 'train' }), {
    code: 'ERR_COTS_DATA',
    message: /captions in about\.words, got files of jpg, json/,
  });
  t.is((await openDataset(named, { columns: { image: 'input.jpg' } })).entries.length, 4);
});

test('a shard that grows is read on; one that is written anew, or vanishes, is named', async (t) => {
  const shard = await copied(t, 'webdataset/pairs-000000.tar');
  const { entries } = await openDataset(shard);
  const image = entries[2]?.image as string;
  const bytes = await readMedia(image, 'an image');
  await appendFile(shard, Buffer.alloc(4096));
  t.deepEqual(await readMedia(image, 'an image'), bytes);
  await writeFile(shard, Buffer.alloc(20_480, 7));
  await t.throwsAsync(readMedia(image, 'an image'), {
    code: 'ERR_COTS_DATA',
    message: /as when its index was made, got other bytes/,
  });
  await rename(shard, `${shard}.away`);
  await t.throwsAsync(readMedia(image, 'an image'), { code: 'ERR_COTS_FILE', message: /no such file/ });
});

test('a picture that vanishes or may not be read is left out of the shards, and named', async (t) => {
  const folder = await temporaryFolder(t);
  await cp(fixturePath('formats/manifest'), folder, { recursive: true });
  const { entries } = await openDataset(folder);
  await rm(entries[0]?.image as string);
  await chmod(entries[1]?.image as string, 0);
  await truncate(entries[2]?.image as string, 0);
  const { shards } = await packDataset(entries, {
    out: path.join(folder, 'out'),
    itemsPerShard: 9,
    side: null,
  });
  const got = shards[0]?.errors.map(({ id, code }) => [id, code]);
  // The superuser may read everything.
  const refused = process.getuid?.() === 0 ? [] : [['1', 'ERR_COTS_FILE']];
  t.deepEqual(got, [['0', 'ERR_COTS_FILE'], ...refused, ['2', 'ERR_COTS_IMAGE']]);
});

test('empty: a split, a shard, a folder, a file', async (t) => {
  const folder = await temporaryFolder(t);
  await t.throwsAsync(openDataset(fixturePath('formats/manifest'), { split: 'val' }), {
    code: 'ERR_COTS_DATA',
    message: /entries of split 'val', it has train \(4\)/,
  });
  for (const [name, content, rule] of [
    ['a.tar', Buffer.alloc(10_240), /got no files/],
    ['b.tar', Buffer.alloc(0), /got no files/],
    ['c.jsonl', Buffer.alloc(0), /an entry a line, got none/],
  ] as const) {
    await writeFile(path.join(folder, name), content);
    await t.throwsAsync(openDataset(path.join(folder, name)), { code: 'ERR_COTS_DATA', message: rule });
  }
});

const tables: Readonly<Record<string, { head: string; row: string }>> = {
  csv: { head: 'image,caption\n', row: 'a.jpg,a red apple\n' },
  tsv: { head: 'image\tcaption\n', row: 'a.jpg\ta red apple\n' },
  jsonl: { head: '', row: `${JSON.stringify({ image: 'a.jpg', caption: 'a red apple' })}\n` },
};

for (const [ending, { head, row }] of Object.entries(tables)) {
  test(`a ${ending} file that grows as fast as it is read has an end`, async (t) => {
    const file = path.join(await temporaryFolder(t), `m.${ending}`);
    const rows = row.repeat(4000);
    await writeFile(file, head + rows);
    let pieces = 1;
    const grow = (): void => {
      if (pieces === 400) return;
      appendFileSync(file, rows);
      pieces++;
      setImmediate(grow);
    };
    grow();
    const { entries } = await openDataset(file);
    t.true((entries[0]?.captions.length as number) < 4000 * 200, `${entries[0]?.captions.length}`);
    pieces = 400;
  });
}

test('the line that is being written when a file is opened is read to its end', async (t) => {
  const file = path.join(await temporaryFolder(t), 'lines.txt');
  const read = async (last: string, meanwhile: string): Promise<string[]> => {
    await writeFile(file, `first\n${last}`);
    const lines: string[] = [];
    for await (const line of textLines(file)) {
      if (lines.push(line) === 1) await appendFile(file, meanwhile);
    }
    return lines;
  };
  const long = 'x'.repeat(10_000);
  t.deepEqual(await read('sec', `ond${long}\nthird\n`), ['first', `second${long}`]);
  t.deepEqual(await read('sec', 'ond'), ['first', 'second']);
  t.deepEqual(await read('sec', ''), ['first', 'sec']);
  t.deepEqual(await read('second\n', 'third\n'), ['first', 'second']);
});

test('lines of a file that grows, vanishes, or is cut while they are read', async (t) => {
  const file = path.join(await temporaryFolder(t), 'lines.txt');
  const line = `${'x'.repeat(99)}\n`;
  const count = async (meanwhile: () => unknown): Promise<number> => {
    await writeFile(file, line.repeat(10_000));
    let lines = 0;
    for await (const _ of textLines(file)) if (lines++ % 1000 === 0) await meanwhile();
    return lines;
  };
  t.is(await count(() => appendFile(file, line.repeat(1000))), 10_000);
  t.is(await count(() => rm(file, { force: true })), 10_000);
  await t.throwsAsync(
    count(() => truncate(file, 5000)),
    {
      code: 'ERR_COTS_FILE',
      message: /lines\.txt to keep its 1000000 bytes while it is read, it ended after/,
    },
  );
});

test('what a mount refuses is named with the reason, and is one bad picture of many', async (t) => {
  const folder = await temporaryFolder(t);
  await cp(fixturePath('formats/manifest'), folder, { recursive: true });
  const { entries } = await openDataset(folder);
  const [loop, below] = entries.map(({ image }) => image as string) as [string, string];
  await rm(loop);
  await symlink(loop, loop);
  await rm(below);
  const ids = entries.map((entry, index) =>
    index === 1 ? { ...entry, image: path.join(entries[2]?.image as string, 'below.jpg') } : entry,
  );
  const { shards } = await packDataset(ids, { out: path.join(folder, 'out'), itemsPerShard: 9, side: null });
  t.deepEqual(
    shards[0]?.errors.map(({ id, code }) => [id, code]),
    [
      ['0', 'ERR_COTS_FILE'],
      ['1', 'ERR_COTS_FILE'],
    ],
  );
  t.is(shards[0]?.items, entries.length - 2);
  const messages = shards[0]?.errors.map(({ message }) => message).join('\n') ?? '';
  t.regex(messages, /links that lead to each other/);
  t.regex(messages, /a file where a directory is needed/);

  for (const ending of ['tar', 'csv', 'jsonl', 'json']) {
    const name = path.join(folder, `loop.${ending}`);
    await symlink(name, name);
    await t.throwsAsync(openDataset(name), {
      code: 'ERR_COTS_FILE',
      message: new RegExp(`loop\\.${ending}, got links that lead to each other`),
    });
  }
});

// Linux alone has a file that cannot be read at its beginning.
const onLinux = process.platform === 'linux' ? test : test.skip;

onLinux('a file whose reading fails, as on a broken disk, is named with the reason', async (t) => {
  const folder = await temporaryFolder(t);
  for (const ending of ['csv', 'tsv', 'jsonl']) {
    const file = path.join(folder, `m.${ending}`);
    await symlink('/proc/self/mem', file);
    await t.throwsAsync(openDataset(file), {
      code: 'ERR_COTS_FILE',
      message: new RegExp(`m\\.${ending}, got an input/output error of the disk or mount`),
    });
  }

  for (const [code, reason] of [
    ['ENOTCONN', /lost its connection/],
    ['ESTALE', /the file was replaced/],
    ['ETIMEDOUT', /does not answer/],
  ] as const) {
    const error = fileError(Object.assign(new Error(code), { code }), 'read an image at', '/mnt/a.jpg');
    t.true(error instanceof CotsError);
    t.regex((error as CotsError).message, reason);
  }
});
