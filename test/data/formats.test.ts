/** Every format from its own files to a trained step, an evaluation and an embedding (test/reference/make_format_fixtures.py). */
import { cp } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { readMedia } from '../../lib/data/media.js';
import { openDataset } from '../../lib/data/open.js';
import type { DatasetKind } from '../../lib/data/readers/read.js';
import { embedSplit } from '../../lib/evaluate/embed-split.js';
import { evaluateRetrieval, Trainer } from '../../lib/index.js';
import { fixturePath } from '../support/fixtures.js';
import { temporaryFolder, tinyConfig } from '../support/tiny.js';

interface Format {
  readonly kind: DatasetKind;
  /** Data set of the format's folder. */
  readonly file: string;
  /** Captions of each of the four entries. @default 2 */
  readonly captions?: number;
  readonly images?: string;
  readonly columns?: Readonly<Record<string, string>>;
  /** @default 'train' */
  readonly split?: string;
}

const formats: Readonly<Record<string, Format>> = {
  manifest: { kind: 'manifest', file: 'manifest.jsonl' },
  folder: { kind: 'folder', file: '' },
  'folder-captions': { kind: 'folder', file: '' },
  'karpathy-coco': { kind: 'karpathy', file: 'dataset_coco.json' },
  'karpathy-flickr30k': { kind: 'karpathy', file: 'dataset_flickr30k.json' },
  blip: { kind: 'blip', file: 'coco_karpathy_train.json' },
  albef: { kind: 'blip', file: 'pretrain_train.json' },
  coco: { kind: 'coco-captions', file: 'annotations/captions_train2014.json' },
  flickr30k: { kind: 'flickr30k-tokens', file: 'results_20130124.token' },
  'flickr30k-kaggle': { kind: 'flickr30k-csv', file: 'results.csv' },
  csv: { kind: 'table', file: 'pairs.csv' },
  'csv-named': { kind: 'table', file: 'pairs.csv', columns: { image: 'bild', caption: 'satz' } },
  tsv: { kind: 'table', file: 'pairs.tsv' },
  jsonl: { kind: 'table', file: 'pairs.jsonl' },
  'jsonl-named': { kind: 'table', file: 'pairs.jsonl', columns: { image: 'bild', caption: 'saetze' } },
  parquet: { kind: 'table', file: 'pairs.parquet' },
  'parquet-named': { kind: 'table', file: 'pairs.parquet', columns: { image: 'bild', caption: 'satz' } },
  webdataset: { kind: 'webdataset', file: 'pairs-{000000..000001}.tar' },
  'webdataset-json': { kind: 'webdataset', file: '*.tar', columns: { caption: 'about.texts' } },
  'webdataset-named': {
    kind: 'webdataset',
    file: '',
    columns: { image: 'input.jpg', caption: 'output.txt' },
  },
  'clip-benchmark': { kind: 'webdataset', file: 'train' },
  'cc3m-files': { kind: 'conceptual-captions', file: 'Train_GCC-training.tsv', captions: 1 },
  'cc3m-shards': { kind: 'conceptual-captions', file: 'Train_GCC-training.tsv', captions: 1 },
  'cc12m-folder': { kind: 'conceptual-captions', file: 'cc12m.tsv', images: 'images', captions: 1 },
};

const clips: Readonly<Record<string, Format>> = {
  'MSR-VTT': { kind: 'msrvtt', file: 'MSRVTT_data.json' },
  '1k-A, training': { kind: 'msrvtt-list', file: 'MSRVTT_train.9k.csv' },
  '1k-A, test': { kind: 'msrvtt-list', file: 'MSRVTT_JSFUSION_test.csv', captions: 1, split: 'test' },
  'Frozen, annotations': { kind: 'msrvtt', file: 'frozen/annotation/MSR_VTT.json', images: 'videos/all' },
  'Frozen, list': {
    kind: 'msrvtt-list',
    file: 'frozen/high-quality/structured-symlinks/train_list_jsfusion.txt',
    images: 'videos/all',
  },
  'Frozen, list of 1k-A': {
    kind: 'msrvtt-list',
    file: 'frozen/high-quality/structured-symlinks/val_list_jsfusion.txt',
    images: 'videos/all',
    captions: 1,
    split: 'test',
  },
  'LAVIS rows': { kind: 'blip', file: 'retrieval_train.json', images: 'videos/all' },
  'a table of clips': { kind: 'table', file: 'clips.csv' },
  'shards of clips': { kind: 'webdataset', file: 'clips-000.tar' },
};

interface Outcome {
  readonly loss: number;
  readonly vectors: readonly number[];
  readonly texts: number;
}

/** Trains one step on the format, evaluates the model on it and embeds its pictures. */
async function through(t: ExecutionContext, folder: string, format: Format): Promise<Outcome> {
  const copy = await temporaryFolder(t); // an index is written beside a shard
  await cp(fixturePath(`formats/${folder}`), copy, { recursive: true });
  const { kind, file, captions = 2, columns = null, split = 'train' } = format;
  const source = {
    path: path.join(copy, file),
    split,
    columns,
    images: format.images === undefined ? null : path.join(copy, format.images),
  };
  const opened = await openDataset(source.path, { ...source, use: 'train' });
  t.is(opened.kind, kind);
  t.deepEqual(
    opened.entries.map((entry) => entry.captions.length),
    [captions, captions, captions, captions],
  );
  const config = tinyConfig('', path.join(copy, 'run'), {
    train: { batchSize: 4, steps: 1, threads: 1, seed: 7, frames: 2, out: path.join(copy, 'run') },
    data: { train: [source], textMaxLen: 20, workers: 2 },
    queue: { size: 4 },
  });
  const trainer = await Trainer.create(config);
  let loss = Number.NaN;
  for await (const event of trainer.run()) if (event.type === 'step') ({ loss } = event);
  const model = trainer.model();
  const embedded = await embedSplit(model, opened.entries, { frames: 2 });
  const { n } = await evaluateRetrieval({ ...embedded, protocol: 'plain' });
  t.deepEqual(n, { images: 4, texts: 4 * captions });
  model.dispose();
  trainer.dispose();
  return { loss, vectors: [...embedded.images.data], texts: n.texts };
}

const bytesOf = async (folder: string, format: Format): Promise<string[]> => {
  const { entries } = await openDataset(path.join(folder, format.file), {
    columns: format.columns ?? null,
    images: format.images === undefined ? null : path.join(folder, format.images),
  });
  const media = entries.map(({ image, video }) => readMedia((image ?? video) as string, 'a picture'));
  return (await Promise.all(media)).map((bytes) => bytes.toString('base64'));
};

const table = (rows: Readonly<Record<string, Format>>, first: string, folderOf: (name: string) => string) => {
  let reference: Promise<Outcome> | undefined;
  for (const [name, format] of Object.entries(rows)) {
    test.serial(`${name}: read, trained, evaluated, embedded`, async (t) => {
      reference ??= through(t, folderOf(first), rows[first] as Format);
      const want = await reference;
      const got = await through(t, folderOf(name), format);
      t.true(Number.isFinite(got.loss));
      // The same pictures and captions give the same numbers whatever the files they come from.
      if ((format.captions ?? 2) === 2) t.deepEqual(got, want);
    });
  }
};

table(formats, 'manifest', (name) => name);
table(clips, 'MSR-VTT', () => 'clips');

test('img2dataset: files and shards hold the same pictures; a picture that is gone is left out', async (t) => {
  const root = await temporaryFolder(t);
  await cp(fixturePath('formats'), root, { recursive: true });
  const want = await bytesOf(path.join(root, 'manifest'), formats['manifest'] as Format);
  for (const name of ['cc3m-files', 'cc3m-shards', 'cc12m-folder'])
    t.deepEqual(await bytesOf(path.join(root, name), formats[name] as Format), want, name);
  for (const file of ['cc3m-files/00000.parquet', 'cc3m-shards/00000.parquet']) {
    const { kind, entries } = await openDataset(path.join(root, file));
    t.is(kind, 'img2dataset');
    t.deepEqual(
      entries.map(({ id, captions }) => [id, captions[0]?.split(' ')[1]]),
      [
        ['000000000', 'red'],
        ['000000001', 'green'],
        ['000000002', 'blue'],
        ['000000003', 'yellow'],
      ],
    );
  }

  t.is((await openDataset(path.join(root, 'cc3m-files'))).entries.length, 4);
  t.is((await openDataset(path.join(root, 'cc3m-shards'))).entries.length, 4);
});

test('the one caption of a clip of 1k-A is the one that the index names', async (t) => {
  const file = fixturePath('formats/clips/frozen/high-quality/structured-symlinks/val_list_jsfusion.txt');
  const { entries } = await openDataset(file);
  t.deepEqual(
    entries.map(({ captions, split }) => [captions[0], split]),
    [
      ['a red box, "small"', 'test'],
      ['there is a green square on white', 'test'],
      ['a blue box, "small"', 'test'],
      ['there is a yellow square on white', 'test'],
    ],
  );
});
