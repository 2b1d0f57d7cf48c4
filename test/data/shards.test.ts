/** WebDataset shards: those that Python's webdataset and tarfile wrote (test/reference/make_dataset_fixtures.py), and our own. */
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { cp, open, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { extract } from 'tar-stream';
import { decodeImage } from '../../lib/data/decode.js';
import { readManifest } from '../../lib/data/manifest.js';
import { openDataset } from '../../lib/data/open.js';
import { packDataset } from '../../lib/data/pack/pack-dataset.js';
import { type TrainEvent, Trainer } from '../../lib/index.js';
import { fixturePath } from '../support/fixtures.js';
import { makeShapes, temporaryFolder, tinyConfig } from '../support/tiny.js';

/** The fixtures in a folder of the test's own, since an index is written beside each shard. */
async function fixtures(t: ExecutionContext): Promise<string> {
  const folder = await temporaryFolder(t);
  await cp(fixturePath('datasets/shards'), folder, { recursive: true });
  return folder;
}

const long = 'ä'.repeat(120);

test('shards of webdataset and tarfile: keys, captions, endings, long names; links and what has no picture are left out', async (t) => {
  const folder = path.join(await fixtures(t), 'train');
  const { kind, entries } = await openDataset(folder);
  t.is(kind, 'webdataset');
  t.deepEqual(
    entries.map(({ id, image, captions, split, source }) => [
      id,
      path.relative(folder, image as string),
      captions,
      split,
      source,
    ]),
    [
      ['000000/000000000', '000000.tar!000000000.png', ['a dark picture', 'ten'], 'train', 'train'],
      ['000000/deep/000000001', '000000.tar!deep/000000001.JPG', ['ninety'], 'train', 'train'],
      ['000000/000000002', '000000.tar!000000002.webp', ['a', 'b'], 'train', 'train'],
      ...['000001', '000002'].flatMap((shard) => [
        [`${shard}/pictures/${long}`, `${shard}.tar!pictures/${long}.png`, ['a long name'], 'train', 'train'],
        [`${shard}/last`, `${shard}.tar!last.png`, [], 'train', 'train'],
      ]),
    ],
  );
  const values = await Promise.all(
    entries.map(async ({ image }) => (await decodeImage(image as string)).data[0] as number),
  );
  t.deepEqual([values[0], ...values.slice(3)], [10, 30, 60, 30, 60]);
  t.true(Math.abs((values[1] as number) - 90) < 6 && Math.abs((values[2] as number) - 170) < 6); // lossy
});

test('a range, several joined, one file', async (t) => {
  const folder = path.join(await fixtures(t), 'train');
  const count = async (given: string): Promise<number> => (await openDataset(given)).entries.length;
  t.is(await count(path.join(folder, '{000000..000002}.tar')), 7);
  t.is(await count(path.join(folder, '00000{0..1}.tar')), 5);
  t.is(await count(`${path.join(folder, '000002.tar')}::${path.join(folder, '000000.tar')}`), 5);
  t.is(await count(path.join(folder, '000001.tar')), 2);
  await t.throwsAsync(openDataset(path.join(folder, '{000002..000000}.tar')), {
    code: 'ERR_COTS_DATA',
    message: /from a smaller to a larger number/,
  });
  await t.throwsAsync(openDataset(path.join(folder, '{000002..000003}.tar')), {
    code: 'ERR_COTS_FILE',
    message: /000003\.tar, got no such file/,
  });
});

test('a shard without pictures is refused with what it holds', async (t) => {
  const folder = await fixtures(t);
  await t.throwsAsync(openDataset(path.join(folder, 'labels.tar')), {
    code: 'ERR_COTS_DATA',
    message: /samples with jpg, .*, got files of cls/,
  });
});

test('the index is used while the shard is the same, and made again when it is not', async (t) => {
  const folder = path.join(await fixtures(t), 'train');
  const [shard, index] = [path.join(folder, '000000.tar'), path.join(folder, '000000.tar.idx.json')];
  await openDataset(shard);
  const first = JSON.parse(await readFile(index, 'utf8')) as { samples: { captions: string[] }[] };
  t.is(first.samples.length, 3);
  const copy = path.join(folder, 'copy.tar');
  await cp(shard, copy);
  const { mtimeMs, size, mtime } = await stat(copy);
  const marked = { ...first, bytes: size, stamp: String(mtimeMs), samples: first.samples.slice(0, 1) };
  await writeFile(`${copy}.idx.json`, JSON.stringify(marked));
  t.is((await openDataset(copy)).entries.length, 1);

  const other = path.join(folder, 'other.tar');
  await cp(shard, other);
  await writeFile(`${other}.idx.json`, JSON.stringify(marked));
  await utimes(other, mtime, new Date(mtime.getTime() + 5000));
  t.is((await openDataset(other)).entries.length, 3);
  await writeFile(path.join(folder, 'torn.tar.idx.json'), '{"format": "cots-sh');
  await cp(shard, path.join(folder, 'torn.tar'));
  t.is((await openDataset(path.join(folder, 'torn.tar'))).entries.length, 3);
});

test('a shard that was cut keeps its whole samples; the cut picture is a bad image; other bytes are refused', async (t) => {
  const folder = path.join(await fixtures(t), 'train');
  const shard = path.join(folder, '000000.tar');
  const { entries: whole } = await openDataset(path.join(folder, '000001.tar'));
  await truncate(shard, 512 + 40);
  const { entries } = await openDataset(shard);
  t.is(entries.length, 1);
  await t.throwsAsync(decodeImage(entries[0]?.image as string), { code: 'ERR_COTS_IMAGE' });
  t.is((await decodeImage(whole[1]?.image as string)).width, 8);

  const broken = path.join(folder, '000002.tar');
  const handle = await open(broken, 'r+');
  await handle.write(Buffer.alloc(512, 'x'), 0, 512, 512);
  await handle.close();
  await t.throwsAsync(openDataset(broken), {
    code: 'ERR_COTS_DATA',
    message: /a tar header at byte 512 of .*000002\.tar, got other bytes/,
  });
});

/** Name and content of each member, by another reader. */
async function members(file: string): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  const reader = extract();
  reader.on('entry', ({ name }, stream, next) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk) => chunks.push(chunk as Buffer));
    stream.on('end', () => {
      found.set(name, Buffer.concat(chunks));
      next();
    });
  });
  for await (const chunk of createReadStream(file)) reader.write(chunk as Buffer);
  reader.end(Buffer.alloc(0));
  await once(reader, 'finish');
  return found;
}

test('packed shards: the files as they are, captions by line and in JSON, the same bytes again', async (t) => {
  const folder = await temporaryFolder(t);
  const manifest = await makeShapes(folder, 7);
  const { entries } = await openDataset(manifest);
  const out = path.join(folder, 'shards');
  const options = { out, itemsPerShard: 3, side: null };
  const { shards } = await packDataset(entries, options);
  t.deepEqual(
    shards.map(({ file, items, errors }) => [file, items, errors.length]),
    [
      ['00000.tar', 3, 0],
      ['00001.tar', 3, 0],
      ['00002.tar', 1, 0],
    ],
  );
  t.deepEqual(
    (await readdir(out)).sort(),
    [
      ...['00000', '00001', '00002'].flatMap((name) => [
        `${name}.parquet`,
        `${name}.tar`,
        `${name}_stats.json`,
      ]),
      'pack.json',
    ].sort(),
  );
  const second = await members(path.join(out, '00001.tar'));
  t.deepEqual([...second.keys()].slice(0, 4), [
    '000010000.png',
    '000010000.txt',
    '000010000.json',
    '000010001.png',
  ]);
  t.deepEqual(second.get('000010000.png'), await readFile(entries[3]?.image as string));
  t.is(second.get('000010000.txt')?.toString(), entries[3]?.captions.join('\n'));
  t.like(JSON.parse(second.get('000010000.json')?.toString() ?? ''), {
    key: '000010000',
    id: 'train-3',
    captions: entries[3]?.captions,
    split: 'train',
  });
  const twice = await packDataset(entries, { ...options, out: path.join(folder, 'again') });
  t.deepEqual(twice.shards, shards);
});

test('packing goes on where it was stopped, makes a torn shard again, and refuses another input', async (t) => {
  const folder = await temporaryFolder(t);
  const { entries } = await openDataset(await makeShapes(folder, 7));
  const out = path.join(folder, 'shards');
  const controller = new AbortController();
  const options = { out, itemsPerShard: 2, side: null };
  const stopped = packDataset(entries, {
    ...options,
    signal: controller.signal,
    onProgress: (done) => done >= 4 && controller.abort(new Error('enough')),
  });
  await t.throwsAsync(stopped, { message: 'enough' });
  t.is((await readdir(out)).filter((name) => name.endsWith('.tar')).length, 2);
  await truncate(path.join(out, '00000.tar'), 600);
  const { shards, skippedShards } = await packDataset(entries, options);
  t.is(shards.length, 4);
  t.is(skippedShards, 1);
  t.is((await openDataset(out)).entries.length, 7);
  await t.throwsAsync(packDataset(entries.slice(1), options), {
    code: 'ERR_COTS_DATA',
    message: /of the same input and options/,
  });
});

test('a picture that cannot be read is left out and listed; larger ones are made smaller by option', async (t) => {
  const folder = await temporaryFolder(t);
  const { entries } = await openDataset(await makeShapes(folder, 4));
  await rm(entries[1]?.image as string);
  await writeFile(entries[2]?.image as string, 'no image');
  const out = path.join(folder, 'shards');
  const { shards } = await packDataset(entries, { out, itemsPerShard: 10, side: 12 });
  t.deepEqual(
    shards[0]?.errors.map(({ id, code }) => [id, code]),
    [
      ['train-1', 'ERR_COTS_FILE'],
      ['train-2', 'ERR_COTS_IMAGE'],
    ],
  );
  const packed = (await openDataset(out)).entries;
  t.deepEqual(
    packed.map(({ id }) => id),
    ['00000/000000000', '00000/000000003'],
  );
  const small = await decodeImage(packed[1]?.image as string);
  t.deepEqual([small.width, small.height], [12, 12]);
});

test('training from shards is training from the files they were made of', async (t) => {
  const folder = await temporaryFolder(t);
  const manifest = await makeShapes(folder, 24);
  t.is((await readManifest(manifest)).length, 24);
  const out = path.join(folder, 'shards');
  const { entries } = await openDataset(manifest);
  await packDataset(entries, { out, itemsPerShard: 10, side: null });
  const losses = async (data: string, run: string): Promise<number[]> => {
    const trainer = await Trainer.create(tinyConfig(data, path.join(folder, run), { train: { steps: 6 } }));
    const events: TrainEvent[] = [];
    for await (const event of trainer.run()) events.push(event);
    trainer.dispose();
    return events.flatMap((event) => (event.type === 'step' ? [event.loss] : []));
  };
  const fromFiles = await losses(manifest, 'files');
  t.is(fromFiles.length, 6);
  t.deepEqual(await losses(out, 'shards-run'), fromFiles);
});
