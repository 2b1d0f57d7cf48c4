import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { readManifest, writeManifest } from '../../lib/data/manifest.js';
import { openDataset } from '../../lib/data/open.js';
import { temporaryFolder } from './temporary.js';

const good = { id: 'a', image: 'a.jpg', captions: ['a bus'] };

async function written(t: ExecutionContext, ...lines: (object | string)[]): Promise<string> {
  const file = path.join(await temporaryFolder(t), 'm.jsonl');
  await writeFile(
    file,
    lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'),
  );
  return file;
}

async function refusal(t: ExecutionContext, lines: (object | string)[], file?: string): Promise<string> {
  const place = file ?? (await written(t, ...lines));
  const error = (await t.throwsAsync(readManifest(place))) as Error & { code: string };
  t.is(error.code, 'ERR_COTS_DATA');
  return error.message.replaceAll(place, 'FILE');
}

test('entries are read with defaults, extra fields, blank lines and a byte order mark', async (t) => {
  const file = await written(t, `\uFEFF${JSON.stringify(good)}`, '', {
    ...good,
    id: 'b',
    split: 'test',
    source: 'coco',
    weight: 2,
    mismatched: true,
    boxes: [[1, 2]],
  });
  t.deepEqual(await readManifest(file), [
    { ...good, split: 'train', source: '' },
    { ...good, id: 'b', split: 'test', source: 'coco', weight: 2, mismatched: true, boxes: [[1, 2]] },
  ]);
});

test('what is written is read again', async (t) => {
  const file = path.join(await temporaryFolder(t), 'm.jsonl');
  const entries = [
    { ...good, split: 'val', source: 's', note: 'caf\u00e9 \u2028 "x"\n' },
    { id: 'v', video: 'v.mp4', captions: ['b', 'c'], split: 'train', source: '' },
  ];
  await writeManifest(file, entries);
  t.deepEqual(await readManifest(file), entries);
  t.is((await readFile(file, 'utf8')).split('\n').length, 3);
});

test('a line that breaks the form is named', async (t) => {
  const example =
    'A line is such as {"id": "1", "image": "images/1.jpg", "captions": ["a red bus"], "split": "train"}.';
  t.is(await refusal(t, [good, '{"id": ']), `Expected line 2 of FILE to be JSON, got '{"id": '. ${example}`);
  t.is(await refusal(t, ['[1]']), `Expected line 1 of FILE to be a JSON object, got [1]. ${example}`);
  t.is(
    await refusal(t, [good, '', { image: 'a.jpg' }]),
    `Expected line 3 of FILE to have an \`id\` (text that is not empty), got undefined. ${example}`,
  );
  t.is(
    await refusal(t, [{ ...good, id: 5 }]),
    `Expected line 1 of FILE to have an \`id\` (text that is not empty), got 5. ${example}`,
  );
  t.is(
    await refusal(t, [{ id: 'a', captions: [] }]),
    `Expected line 1 of FILE to have an \`image\` or a \`video\`, got undefined. ${example}`,
  );
  t.is(
    await refusal(t, [{ id: 'a', imgae: 'x' }]),
    `Expected line 1 of FILE to have an \`image\` or a \`video\`, got 'the field imgae'. ${example}`,
  );
  t.is(
    await refusal(t, [{ ...good, video: 'v' }]),
    `Expected line 1 of FILE to have either an \`image\` or a \`video\`, got 'both'. ${example}`,
  );
  t.is(
    await refusal(t, [{ ...good, image: 5 }]),
    `Expected line 1 of FILE to have \`image\` as a path, got 5. ${example}`,
  );
  t.is(
    await refusal(t, [{ ...good, captions: 'a bus' }]),
    `Expected line 1 of FILE to have \`captions\` as a list of texts, got 'a bus'. ${example}`,
  );
  t.is(
    await refusal(t, [{ ...good, captions: [1] }]),
    `Expected line 1 of FILE to have \`captions\` as a list of texts, got [1]. ${example}`,
  );
  t.is(
    await refusal(t, [{ ...good, split: '' }]),
    `Expected line 1 of FILE to have \`split\` as a name, got ''. ${example}`,
  );
  t.is(
    await refusal(t, [{ ...good, weight: -1 }]),
    `Expected line 1 of FILE to have \`weight\` as a number from 0 to 1000000, got -1. ${example}`,
  );
  t.is(
    await refusal(t, [{ ...good, mismatched: 'yes' }]),
    `Expected line 1 of FILE to have \`mismatched\` as true or false, got 'yes'. ${example}`,
  );
});

test('a training manifest without a caption', async (t) => {
  t.is(
    await refusal(t, [good, { id: 'b', image: 'b.jpg' }]),
    'Expected a caption at line 2 of FILE, got none. Add one, or leave the entry out.',
  );
  t.is(
    await refusal(t, [good, { ...good, id: 'b', captions: [] }]),
    'Expected a caption at line 2 of FILE, got none. Add one, or leave the entry out.',
  );
  t.is(
    await refusal(t, [{ ...good, captions: ['a', ' \t'] }]),
    'Expected captions with words at line 1 of FILE, got an empty one. Write it, or leave it out.',
  );
  const file = await written(t, { id: 'b', image: 'b.jpg' });
  const error = await t.throwsAsync(openDataset(file, { use: 'train' }));
  t.is(error?.message, `Expected a caption at line 1 of ${file}, got none. Add one, or leave the entry out.`);
  t.is((await readManifest(file, { captions: false })).length, 1);
});

test('ids are unique, and a manifest is not empty', async (t) => {
  t.is(
    await refusal(t, [good, { ...good, id: 'b' }, good]),
    "Expected every id of FILE once, got 'a' at line 3 of FILE and at line 1 of FILE. Put all captions of an image on one line.",
  );
  t.regex(await refusal(t, ['']), /^Expected FILE to hold an entry a line, got none\. Write lines such as /);
});

test('files: none, a directory', async (t) => {
  const folder = await temporaryFolder(t);
  const missing = (await t.throwsAsync(readManifest(path.join(folder, 'x.jsonl')))) as Error & {
    code: string;
  };
  t.is(missing.code, 'ERR_COTS_FILE');
  t.is(
    missing.message,
    `Expected to read a manifest at ${folder}/x.jsonl, got no such file or directory. Check the path.`,
  );
  t.is(
    (await t.throwsAsync(readManifest(folder)))?.message,
    `Expected to read a manifest at ${folder}, got a directory where a file is needed. Name a file.`,
  );
});
