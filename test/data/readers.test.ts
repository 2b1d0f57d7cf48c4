import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { openDataset } from '../../lib/data/open.js';
import { openSources } from '../../lib/data/training-set.js';
import { temporaryFolder } from './temporary.js';

const karpathy = {
  dataset: 'coco',
  images: [
    {
      filepath: 'val2014',
      filename: 'a.jpg',
      imgid: 0,
      cocoid: 391895,
      split: 'test',
      sentids: [1],
      sentences: [{ tokens: ['a'], raw: 'A man .', imgid: 0, sentid: 1 }],
    },
    {
      filepath: 'train2014',
      filename: 'b.jpg',
      imgid: 1,
      cocoid: 7,
      split: 'restval',
      sentences: ['1', '2', '3', '4', '5', '6'].map((raw) => ({ raw })),
    },
    {
      filepath: 'train2014',
      filename: 'c.jpg',
      imgid: 2,
      cocoid: 8,
      split: 'train',
      sentences: [{ raw: 'c' }],
    },
    { filename: 'd.jpg', imgid: 3, split: 'val', sentences: [{ raw: 'd' }] },
  ],
};

test('Karpathy: restval is train, paths, ids, first captions by option', async (t) => {
  const folder = await temporaryFolder(t);
  const file = path.join(folder, 'dataset_coco.json');
  await writeFile(file, JSON.stringify(karpathy));
  const all = await openDataset(file);
  t.is(all.kind, 'karpathy');
  t.deepEqual(
    all.entries.map(({ id, image, split, source, captions }) => [
      id,
      path.relative(folder, image ?? ''),
      split,
      source,
      captions.length,
    ]),
    [
      ['coco_391895', 'val2014/a.jpg', 'test', 'coco', 1],
      ['coco_7', 'train2014/b.jpg', 'train', 'coco', 6],
      ['coco_8', 'train2014/c.jpg', 'train', 'coco', 1],
      ['coco_3', 'd.jpg', 'val', 'coco', 1],
    ],
  );
  t.deepEqual(
    (await openDataset(file, { use: 'train' })).entries.map(({ id }) => id),
    ['coco_7', 'coco_8'],
  );
  t.deepEqual(
    (await openDataset(file, { use: 'validation' })).entries.map(({ id }) => id),
    ['coco_3'],
  );
  const five = await openDataset(file, { split: 'train', captionsPerImage: 5, images: '/elsewhere' });
  t.deepEqual(five.entries[0]?.captions, ['1', '2', '3', '4', '5']);
  t.is(five.entries[0]?.image, '/elsewhere/train2014/b.jpg');
});

test('Karpathy: what is not such a file', async (t) => {
  const file = path.join(await temporaryFolder(t), 'x.json');
  const message = async (value: unknown) => {
    await writeFile(file, typeof value === 'string' ? value : JSON.stringify(value));
    return (await t.throwsAsync(openDataset(file)))?.message.replace(file, 'FILE');
  };
  t.regex((await message('{')) ?? '', /^Expected FILE to be JSON, got: .* Restore it from its source\.$/);
  t.regex(
    (await message({ images: [] })) ?? '',
    /^Expected FILE to be a Karpathy file .* got an object with images\. A manifest ends in \.jsonl\.$/,
  );
  t.is(
    await message({ images: [{ imgid: 1, sentences: [] }] }),
    'Expected image 0 of FILE to have `filename`, got undefined. Restore the file from its source.',
  );
  t.is(
    await message({
      images: [karpathy.images[0], { filename: 'a', imgid: 2, split: 'test', sentences: [{}] }],
    }),
    'Expected image 1 of FILE to have `sentences`, got [an instance of Object]. Restore the file from its source.',
  );
});

test('a folder: captions beside the images, folders inside, in order', async (t) => {
  const folder = await temporaryFolder(t);
  const at = (name: string) => path.join(folder, name);
  await mkdir(at('sub'));
  for (const name of ['b.JPG', 'a.png', 'sub/c.webp', 'notes.md', 'a.txt', 'a.jpg'])
    await writeFile(at(name), '');
  await writeFile(at('a.txt'), 'first\r\n\nsecond \n');
  await writeFile(at('b.txt'), 'b');
  await writeFile(at('sub/c.txt'), 'c');
  const { entries, kind } = await openDataset(folder, { use: 'train' });
  t.is(kind, 'folder');
  t.deepEqual(
    entries.map(({ id, image, captions }) => [id, path.relative(folder, image ?? ''), captions]),
    [
      ['a', 'a.jpg', ['first', 'second ']],
      ['a.png', 'a.png', ['first', 'second ']],
      ['b', 'b.JPG', ['b']],
      ['sub/c', 'sub/c.webp', ['c']],
    ],
  );
});

test('a folder with captions.jsonl or manifest.jsonl', async (t) => {
  const folder = await temporaryFolder(t);
  const at = (name: string) => path.join(folder, name);
  for (const name of ['a.png', 'b.png']) await writeFile(at(name), '');
  const line = (value: object) => `${JSON.stringify(value)}\n`;
  await writeFile(
    at('captions.jsonl'),
    line({ image: 'a.png', captions: ['one', 'two'] }) +
      line({ image: './a.png', caption: 'three' }) +
      line({ image: 'b', caption: 'b' }),
  );
  t.deepEqual(
    (await openDataset(folder)).entries.map(({ captions }) => captions),
    [['one', 'two', 'three'], ['b']],
  );
  await writeFile(at('captions.jsonl'), line({ image: 'a.png' }));
  t.is(
    (await t.throwsAsync(openDataset(folder)))?.message,
    `Expected line 1 of ${at('captions.jsonl')} to be {"image": "a.jpg", "captions": ["..."]}, got '{"image":"a.png"}'. Correct that line.`,
  );
  await writeFile(at('manifest.jsonl'), line({ id: 'm', image: 'sub/m.png', captions: ['m'] }));
  const { entries, kind } = await openDataset(folder);
  t.is(kind, 'manifest');
  t.is(entries[0]?.image, at('sub/m.png'));
});

test('an empty folder', async (t) => {
  const folder = await temporaryFolder(t);
  const error = (await t.throwsAsync(openDataset(folder))) as Error & { code: string };
  t.is(error.code, 'ERR_COTS_DATA');
  t.is(
    error.message,
    `Expected ${folder} to hold images (.jpg, .jpeg, .png, .webp, .gif, .tif, .tiff, .avif), got none. Name another folder, or put some there.`,
  );
});

test('a folder for training in which an image has no caption', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(path.join(folder, 'a.png'), '');
  t.is((await openDataset(folder)).entries.length, 1);
  t.is(
    (await t.throwsAsync(openDataset(folder, { use: 'train' })))?.message,
    `Expected a caption at entry 'a' of ${folder}, got none. Add one, or leave the entry out.`,
  );
});

test('a path that is no data set', async (t) => {
  const folder = await temporaryFolder(t);
  const file = path.join(folder, 'a.xml');
  await writeFile(file, 'x');
  t.is(
    (await t.throwsAsync(openDataset(file)))?.message,
    `Expected a data set to be a folder of images or a file that ends in .jsonl, .json, .token, .tsv, .csv, .parquet, .tar, got ${file}. Make a manifest (.jsonl) of it.`,
  );
  const none = (await t.throwsAsync(openDataset(path.join(folder, 'none')))) as Error & { code: string };
  t.is(none.code, 'ERR_COTS_FILE');
  t.is(
    none.message,
    `Expected to read a data set at ${folder}/none, got no such file or directory. Check the path.`,
  );
});

test('splits: train by name, validation by name or alone, others asked for', async (t) => {
  const file = path.join(await temporaryFolder(t), 'm.jsonl');
  const write = (...splits: string[]) =>
    writeFile(
      file,
      splits
        .map((split, id) => JSON.stringify({ id: `${id}`, image: 'a', captions: ['a'], split }))
        .join('\n'),
    );
  await write('test', 'test');
  t.is((await openDataset(file, { use: 'validation' })).split, null);
  t.is((await openDataset(file, { split: 'test', use: 'train' })).entries.length, 2);
  const wrong = (await t.throwsAsync(openDataset(file, { use: 'train' })))?.message;
  t.is(
    wrong,
    `Expected ${file} to have entries of split 'train', it has test (2). Name one of these: a list entry { path, split }, or --split.`,
  );
  await write('train', 'test', 'test');
  t.is(
    (await t.throwsAsync(openDataset(file, { use: 'validation' })))?.message,
    `Expected ${file} to have entries of split 'val', it has train (1), test (2). Name one of these: a list entry { path, split }, or --split.`,
  );
  await write('train', 'validation');
  t.is((await openDataset(file, { use: 'validation' })).entries[0]?.id, '1');
});

test('sources are joined with their weights; videos are refused', async (t) => {
  const folder = await temporaryFolder(t);
  const file = (name: string) => path.join(folder, name);
  await writeFile(
    file('a.jsonl'),
    `${JSON.stringify({ id: 'a', image: 'a', captions: ['a'], weight: 3 })}\n`,
  );
  await writeFile(file('b.jsonl'), `${JSON.stringify({ id: 'b', image: 'b', captions: ['b'] })}\n`);
  await writeFile(file('v.jsonl'), `${JSON.stringify({ id: 'v', video: 'v.mp4', captions: ['v'] })}\n`);
  const source = (name: string, weight = 1) => ({
    path: file(name),
    weight,
    split: null,
    images: null,
    columns: null,
  });
  const joined = await openSources([source('a.jsonl', 2), source('b.jsonl', 0.5)], 'train');
  t.deepEqual(
    [joined.entries.map(({ id }) => id), [...(joined.weights ?? [])]],
    [
      ['a', 'b'],
      [6, 0.5],
    ],
  );
  t.is((await openSources([source('b.jsonl')], 'train')).weights, undefined);
  t.deepEqual(
    [
      (await openSources([source('b.jsonl')], 'train')).hasClips,
      (await openSources([source('v.jsonl')], 'train')).hasClips,
    ],
    [false, true],
  );
});
