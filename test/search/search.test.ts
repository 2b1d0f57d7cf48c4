/** From images to vectors to an index to rows found. */
import { cp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { Cots, CotsError } from '../../lib/index.js';
import { embedInto } from '../../lib/search/embed-input.js';
import { shareOf } from '../../lib/search/embed-share.js';
import { writeErrors } from '../../lib/search/errors-file.js';
import { buildIndex, loadIndex } from '../../lib/search/index-folder.js';
import { readNpy } from '../../lib/search/npy.js';
import { concatenateRows, openEmbeddings } from '../../lib/search/read-embeddings.js';
import { readInput } from '../../lib/search/read-input.js';
import { modelOfIndex, search } from '../../lib/search/search.js';
import { maxDifference } from '../support/fixtures.js';
import { makeShapes, temporaryFolder } from '../support/tiny.js';

async function prepared(
  t: ExecutionContext,
): Promise<{ folder: string; manifest: string; model: Cots; modelPath: string }> {
  const folder = await temporaryFolder(t);
  const manifest = await makeShapes(folder, 12);
  const model = await Cots.create({
    image: { size: 16, patch: 8, width: 16, layers: 1, heads: 2 },
    text: { width: 16, layers: 1, heads: 2, vocabSize: 200, maxPositions: 64 },
    embedDim: 8,
  });
  t.teardown(() => model.dispose());
  const modelPath = path.join(folder, 'model');
  await model.save(modelPath);
  return { folder, manifest, model, modelPath };
}

test("embeddings are clip-retrieval's layout: npy, parquet, rows aligned, our manifest", async (t) => {
  const { folder, manifest, model, modelPath } = await prepared(t);
  const out = path.join(folder, 'emb');
  const summary = await embedInto(model, await readInput(manifest, 'image', null), {
    modality: 'image',
    out,
    modelPath,
  });
  t.like(summary, { rows: 12, dimension: 8, partitions: 1, errors: [] });
  t.deepEqual((await readdir(out)).sort(), ['img_emb', 'manifest.json', 'metadata']);
  const npy = await readNpy(path.join(out, 'img_emb', 'img_emb_0.npy'));
  t.deepEqual(
    npy,
    await model.embedImages(
      Array.from({ length: 12 }, (_, i) => path.join(folder, 'images', `train-${i}.png`)),
    ),
  );
  const rows = await parquetReadObjects({
    file: await asyncBufferFromFile(path.join(out, 'metadata', 'metadata_0.parquet')),
  });
  t.deepEqual(rows[3], {
    image_path: path.join(folder, 'images', 'train-3.png'),
    caption: 'a yellow box on white at the top left',
    id: 'train-3',
  });
  const { model: mark, ...rest } = JSON.parse(await readFile(path.join(out, 'manifest.json'), 'utf8')) as {
    model: { path: string; hash: string };
  };
  t.regex(mark.hash, /^[0-9a-f]{64}$/);
  t.is(mark.path, modelPath);
  t.like(rest, { format: 'cots-embeddings', dimension: 8, dtype: 'float32', normalized: true });
});

/** What a folder of embeddings holds, the vectors in memory. */
async function readEmbeddings(directory: string, modality?: 'image' | 'text') {
  const opened = await openEmbeddings(directory, modality);
  const parts = await Promise.all(opened.files.map(({ file }) => readNpy(file)));
  return { ...opened, vectors: concatenateRows(parts, opened.manifest.dimension) };
}

test('texts of a manifest are a row a caption, of a text file a row a line', async (t) => {
  const { folder, manifest } = await prepared(t);
  const captions = await readInput(manifest, 'text', null);
  t.is(captions.length, 24);
  t.deepEqual(captions[1], {
    id: 'train-0#1',
    image: path.join(folder, 'images', 'train-0.png'),
    caption: 'top left there is a red square, ground white',
  });
  await writeFile(path.join(folder, 'a.txt'), 'one\n\ntwo\n');
  t.deepEqual(
    (await readInput(path.join(folder, 'a.txt'), 'text', null)).map(({ caption }) => caption),
    ['one', '', 'two'],
  );
});

test('a bad image is left out and reported; rows stay aligned', async (t) => {
  const { folder, manifest, model, modelPath } = await prepared(t);
  await writeFile(path.join(folder, 'images', 'train-5.png'), 'no image');
  const out = path.join(folder, 'emb');
  const { rows, errors } = await embedInto(model, await readInput(manifest, 'image', null), {
    modality: 'image',
    out,
    modelPath,
  });
  t.is(rows, 11);
  t.deepEqual(
    errors.map(({ id, code }) => [id, code]),
    [['train-5', 'ERR_COTS_IMAGE']],
  );
  const { entries, vectors } = await readEmbeddings(out);
  t.is(entries[5]?.id, 'train-6');
  const alone = await model.embedImages([path.join(folder, 'images', 'train-6.png')]);
  t.true(maxDifference(vectors.data.subarray(40, 48), alone.data) < 1e-6);
});

test('images and texts of one folder stand for the same rows, whatever each had to leave out', async (t) => {
  const { folder, manifest, model, modelPath } = await prepared(t);
  const lines = (await readFile(manifest, 'utf8')).trimEnd().split('\n');
  const single = lines.map((line) => {
    const entry = JSON.parse(line) as { captions: string[] };
    return JSON.stringify({ ...entry, captions: entry.captions.slice(0, 1) });
  });
  await writeFile(manifest, single.join('\n'));
  const broken = path.join(folder, 'images', 'train-5.png');
  const whole = await readFile(broken);
  const embed = async (modality: 'image' | 'text', out: string) =>
    embedInto(model, await readInput(manifest, modality, null), { modality, out, modelPath });

  for (const order of [
    ['image', 'text'],
    ['text', 'image'],
  ] as const) {
    const out = path.join(folder, order[0]);
    await writeFile(broken, 'no image');
    for (const modality of order) await embed(modality, out);
    const images = await readEmbeddings(out, 'image');
    const texts = await readEmbeddings(out, 'text');
    t.is(images.entries.length, 11);
    t.deepEqual(images.entries, texts.entries);
    t.deepEqual(
      Object.values(images.manifest.modalities).map(({ rows, complete }) => [rows, complete]),
      [
        [11, true],
        [11, true],
      ],
    );
    const captions = texts.entries.map(({ caption }) => caption);
    t.true(maxDifference(texts.vectors.data, (await model.embedTexts(captions)).data) < 1e-6);
    await writeFile(broken, whole);
    const files = images.entries.map(({ image }) => image);
    t.true(maxDifference(images.vectors.data, (await model.embedImages(files)).data) < 1e-6);
  }
});

test('what was left out is tried again by the next run, and nothing at all is an error', async (t) => {
  const { folder, manifest, model, modelPath } = await prepared(t);
  const broken = path.join(folder, 'images', 'train-5.png');
  const whole = await readFile(broken);
  await writeFile(broken, 'no image');
  const entries = await readInput(manifest, 'image', null);
  const options = { modality: 'image' as const, out: path.join(folder, 'emb'), modelPath };
  await embedInto(model, entries, options);
  t.like(await embedInto(model, entries, options), { rows: 11, embedded: 0, errors: [{ id: 'train-5' }] });
  const listed = JSON.parse(await readFile(path.join(options.out, 'errors.jsonl'), 'utf8')) as object;
  t.like(listed, { modality: 'image', id: 'train-5', code: 'ERR_COTS_IMAGE' });
  await writeFile(broken, whole);
  t.like(await embedInto(model, entries, options), { rows: 12, embedded: 1, errors: [] });
  t.false((await readdir(options.out)).includes('errors.jsonl'), 'nothing is left to list');
  const found = await readEmbeddings(options.out);
  t.deepEqual(found.entries, entries);
  const files = entries.map(({ image }) => image);
  t.true(maxDifference(found.vectors.data, (await model.embedImages(files)).data) < 1e-6);

  await writeFile(broken, 'no image');
  await t.throwsAsync(
    () => embedInto(model, entries.slice(5, 6), { ...options, out: path.join(folder, 'none') }),
    { code: 'ERR_COTS_DATA', message: /got none of 1\. The first, train-5: Expected .*train-5\.png/ },
  );
  await writeFile(path.join(folder, 'empty.txt'), '');
  await t.throwsAsync(() => readInput(path.join(folder, 'empty.txt'), 'text', null), {
    code: 'ERR_COTS_DATA',
    message: /texts or captions, got none/,
  });
});

test('errors.jsonl lists each modality, and a run over all takes the place of what processes listed', async (t) => {
  const directory = await temporaryFolder(t);
  const lines = async (name: string): Promise<unknown[]> =>
    (await readFile(path.join(directory, name), 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown);
  const image = { id: 'a', code: 'ERR_COTS_IMAGE', message: 'broken "a"' };
  const text = { id: 'b', code: 'ERR_COTS_DATA', message: 'no text' };
  const alone = { rank: 0, world: 1 };
  await writeErrors(directory, 'image', { rank: 1, world: 2 }, [image]);
  await writeErrors(directory, 'text', { rank: 0, world: 2 }, [text]);
  t.deepEqual(await lines('errors-image-1-of-2.jsonl'), [{ modality: 'image', ...image }]);
  await writeErrors(directory, 'image', alone, [image, { ...image, id: 'c' }]);
  await writeErrors(directory, 'text', alone, [text]);
  await writeErrors(directory, 'image', alone, [image]);
  t.deepEqual(await readdir(directory), ['errors.jsonl']);
  t.deepEqual(await lines('errors.jsonl'), [
    { modality: 'text', ...text },
    { modality: 'image', ...image },
  ]);
  await writeErrors(directory, 'text', alone, []);
  await writeErrors(directory, 'image', alone, []);
  t.deepEqual(await readdir(directory), []);
});

test('a folder of other things is not written into', async (t) => {
  const { folder, manifest, model, modelPath } = await prepared(t);
  const entries = await readInput(manifest, 'image', null);
  await t.throwsAsync(() => embedInto(model, entries, { modality: 'image', out: folder, modelPath }), {
    code: 'ERR_COTS_DATA',
    message: /new or empty folder, or embeddings to replace, got a folder with/,
  });
  t.false((await readdir(folder)).includes('img_emb'));
});

test('a second run skips finished partitions and makes a torn one again', async (t) => {
  const { folder, manifest, model, modelPath } = await prepared(t);
  const out = path.join(folder, 'emb');
  const entries = await readInput(manifest, 'image', null);
  const options = { modality: 'image' as const, out, modelPath };
  await embedInto(model, entries, options);
  t.is((await embedInto(model, entries, options)).skippedPartitions, 1);
  await truncate(path.join(out, 'img_emb', 'img_emb_0.npy'), 200);
  const again = await embedInto(model, entries, options);
  t.is(again.skippedPartitions, 0);
  t.is((await readEmbeddings(out)).vectors.shape[0], 12);
});

test('another model or another input into the same folder is refused', async (t) => {
  const { folder, manifest, model, modelPath } = await prepared(t);
  const out = path.join(folder, 'emb');
  const entries = await readInput(manifest, 'image', null);
  await embedInto(model, entries, { modality: 'image', out, modelPath });
  await t.throwsAsync(() => embedInto(model, entries.slice(1), { modality: 'image', out, modelPath }), {
    instanceOf: CotsError,
    message: /same input/,
  });
  const other = await Cots.create({ ...model.config }, { seed: 5 });
  t.teardown(() => other.dispose());
  await other.save(path.join(folder, 'other'));
  await t.throwsAsync(
    () => embedInto(other, entries, { modality: 'image', out, modelPath: path.join(folder, 'other') }),
    { instanceOf: CotsError, message: /another hash/ },
  );
  const coarse = await Cots.load(modelPath, { precision: 'int8' });
  t.teardown(() => coarse.dispose());
  await t.throwsAsync(() => embedInto(coarse, entries, { modality: 'image', out, modelPath }), {
    instanceOf: CotsError,
    message: /precision int8, got float32/,
  });
  const scaled = { modality: 'image', out, modelPath, scaleOnLoad: true } as const;
  await t.throwsAsync(() => embedInto(model, entries, scaled), {
    instanceOf: CotsError,
    message: /decoded with --scale-on-load, got the other/,
  });
  const part = path.join(folder, 'scaled');
  await embedInto(model, entries, { ...scaled, out: part });
  await t.notThrowsAsync(() => embedInto(model, entries, { ...scaled, out: part }));
  await t.throwsAsync(() => embedInto(model, entries, { modality: 'image', out: part, modelPath }), {
    message: /decoded without --scale-on-load/,
  });
});

test('an index holds vectors.bin, ids.jsonl and manifest.json, and finds an image by itself', async (t) => {
  const { folder, manifest, model, modelPath } = await prepared(t);
  const out = path.join(folder, 'emb');
  await embedInto(model, await readInput(manifest, 'image', null), { modality: 'image', out, modelPath });
  const indexFolder = path.join(folder, 'index');
  t.like(await buildIndex(out, indexFolder), {
    format: 'cots-index',
    rows: 12,
    dimension: 8,
    dtype: 'float32',
    modality: 'image',
  });
  t.deepEqual((await readdir(indexFolder)).sort(), ['ids.jsonl', 'manifest.json', 'vectors.bin']);
  t.is((await readFile(path.join(indexFolder, 'vectors.bin'))).length, 12 * 8 * 4);
  const index = await loadIndex(indexFolder);
  t.is(await modelOfIndex(index, undefined), modelPath);
  const file = path.join(folder, 'images', 'train-7.png');
  const hits = await search(model, index, { image: file }, { k: 3 });
  t.is(hits.length, 3);
  t.like(hits[0], { rank: 1, id: 'train-7', image: file });
  t.true(Math.abs((hits[0]?.score ?? 0) - 1) < 1e-5);
  t.deepEqual(
    hits.map(({ rank }) => rank),
    [1, 2, 3],
  );
  t.true((hits[0]?.score ?? 0) >= (hits[1]?.score ?? 2));
  t.deepEqual(
    await search(model, await loadIndex(out), { image: file }, { k: 3 }),
    hits,
    'a folder of embeddings searches the same',
  );
  t.is((await search(model, index, { text: 'a red box' }, { k: 50 })).length, 12);
});

test('a model of another hash is refused, the right one under another path is taken', async (t) => {
  const { folder, manifest, model, modelPath } = await prepared(t);
  const out = path.join(folder, 'emb');
  await embedInto(model, await readInput(manifest, 'image', null), { modality: 'image', out, modelPath });
  const index = await loadIndex(out);
  await model.save(path.join(folder, 'moved'));
  t.is(await modelOfIndex(index, path.join(folder, 'moved')), path.join(folder, 'moved'));
  const other = await Cots.create({ ...model.config }, { seed: 5 });
  t.teardown(() => other.dispose());
  await other.save(modelPath);
  await t.throwsAsync(() => modelOfIndex(index, undefined), {
    instanceOf: CotsError,
    message: /made the index.*--model/,
  });
  await rm(modelPath, { recursive: true });
  await t.throwsAsync(() => modelOfIndex(index, undefined), {
    instanceOf: CotsError,
    message: /name the model with --model/,
  });
});

test('what is no index, an index cut short, and an unfinished folder are refused', async (t) => {
  const { folder, manifest, model, modelPath } = await prepared(t);
  await t.throwsAsync(() => loadIndex(folder), { instanceOf: CotsError, message: /no manifest\.json/ });
  const out = path.join(folder, 'emb');
  const entries = await readInput(manifest, 'image', null);
  await embedInto(model, entries, { modality: 'image', out, modelPath });
  await buildIndex(out, path.join(folder, 'index'));
  await truncate(path.join(folder, 'index', 'vectors.bin'), 100);
  await t.throwsAsync(() => loadIndex(path.join(folder, 'index')), {
    instanceOf: CotsError,
    message: /384 bytes.*got 100/,
  });
  await t.throwsAsync(() => buildIndex(out, folder), {
    instanceOf: CotsError,
    message: /new or empty folder, or an index/,
  });
  const half = path.join(folder, 'half');
  await t.throwsAsync(
    () =>
      embedInto(model, entries, {
        modality: 'image',
        out: half,
        modelPath,
        signal: AbortSignal.abort(new Error('stop')),
      }),
    { message: 'stop' },
  );
  await t.throwsAsync(() => buildIndex(half, path.join(folder, 'index2')), {
    instanceOf: CotsError,
    message: /unfinished run/,
  });
});

test('several processes fill one folder, or folders that are put together, with the bytes of one', async (t) => {
  const { folder, manifest, model, modelPath } = await prepared(t);
  const entries = await readInput(manifest, 'image', null);
  const into = (out: string, share?: { rank: number; world: number }) =>
    embedInto(model, entries, {
      modality: 'image',
      out: path.join(folder, out),
      modelPath,
      partitionRows: 5,
      share,
    });
  const [alone, last, first] = [
    await into('alone'),
    await into('shared', { rank: 1, world: 2 }),
    await into('shared', { rank: 0, world: 2 }),
  ];
  t.like(alone, { rows: 12, partitions: 3, complete: true });
  t.like(last, { rows: 5, partitions: 3, complete: false });
  t.like(first, { rows: 7, partitions: 3, complete: true });

  await into('part-0', { rank: 0, world: 2 });
  await into('part-1', { rank: 1, world: 2 });
  for (const name of ['img_emb', 'metadata'])
    await cp(path.join(folder, 'part-1', name), path.join(folder, 'part-0', name), { recursive: true });
  t.like(await into('part-0'), { rows: 12, embedded: 0, complete: true });

  for (const out of ['shared', 'part-0']) {
    t.is((await openEmbeddings(path.join(folder, out))).entries.length, 12);
    for (const index of [0, 1, 2]) {
      const file = path.join('img_emb', `img_emb_${index}.npy`);
      t.deepEqual(
        await readFile(path.join(folder, out, file)),
        await readFile(path.join(folder, 'alone', file)),
      );
    }
  }
});

test('the share of a process comes from its environment', (t) => {
  t.deepEqual(shareOf({}), { rank: 0, world: 1 });
  t.deepEqual(shareOf({ RANK: '2', WORLD_SIZE: '3' }), { rank: 2, world: 3 });
  t.deepEqual(shareOf({ SLURM_PROCID: '1', SLURM_STEP_NUM_TASKS: '4' }), { rank: 1, world: 4 });
  for (const env of [
    { RANK: '0' },
    { WORLD_SIZE: '2' },
    { RANK: '2', WORLD_SIZE: '2' },
    { RANK: '-1', WORLD_SIZE: '2' },
  ])
    t.throws(() => shareOf(env), { code: 'ERR_COTS_CONFIG', message: /RANK and WORLD_SIZE together/ });
  t.throws(() => shareOf({ SLURM_PROCID: '0', SLURM_STEP_NUM_TASKS: 'two' }), { code: 'ERR_COTS_CONFIG' });
});

test('a list of paths is an input of images, relative to its folder or the one named', async (t) => {
  const { folder } = await prepared(t);
  const list = path.join(folder, 'images', 'list.txt');
  await writeFile(list, 'train-3.png\r\ntrain-0.png\n\n');
  const entries = await readInput(list, 'image', null);
  t.deepEqual(
    entries.map(({ id, image }) => [id, image]),
    [
      ['train-3.png', path.join(folder, 'images', 'train-3.png')],
      ['train-0.png', path.join(folder, 'images', 'train-0.png')],
    ],
  );
  const [first] = await readInput(list, 'image', null, { images: '/elsewhere' });
  t.is(first?.image, '/elsewhere/train-3.png');
  await t.throwsAsync(readInput(list, 'image', 'test'), { code: 'ERR_COTS_DATA', message: /no --split/ });
});
