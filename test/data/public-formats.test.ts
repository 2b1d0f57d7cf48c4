/** The annotation files of public data sets, as test/reference/make_dataset_fixtures.py wrote them. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { type DatasetKind, openDataset } from '../../lib/data/open.js';
import { fixturePath } from '../support/fixtures.js';
import { temporaryFolder } from './temporary.js';

const root = fixturePath('datasets');

/** [id, path of the image or video, captions, split] of each entry. */
type Expected = [id: string, media: string, captions: string[], split: string];

const reads = test.macro({
  async exec(t, file: string, kind: DatasetKind, expected: Expected[], images?: string) {
    const opened = await openDataset(
      path.join(root, file),
      images === undefined ? {} : { images: path.join(root, images) },
    );
    t.is(opened.kind, kind);
    t.deepEqual(
      opened.entries.map(({ id, image, video, captions, split }) => [
        id,
        path.relative(root, (image ?? video) as string),
        captions,
        split,
      ]),
      expected,
    );
  },
  title: (_, file = '') => `reads ${file}`,
});

test(reads, 'blip/coco_karpathy_train.json', 'blip', [
  [
    'coco_522418',
    'blip/val2014/COCO_val2014_000000522418.jpg',
    ['A man with a red helmet.', 'The man rides.'],
    'train',
  ],
  ['coco_318219', 'blip/train2014/COCO_train2014_000000318219.jpg', ['A woman cutting a cake.'], 'train'],
]);
test(
  reads,
  'blip/coco_karpathy_val.json',
  'blip',
  [
    [
      'val2014/COCO_val2014_000000184613.jpg',
      'coco/val2014/COCO_val2014_000000184613.jpg',
      ['A child holding an umbrella.', 'A boy, in the rain.'],
      'val',
    ],
  ],
  'coco',
);
test('an absolute path of ALBEF stays', async (t) => {
  const { entries } = await openDataset(path.join(root, 'blip/albef_cc3m.json'));
  t.deepEqual(
    entries.map(({ image, captions }) => [image, captions.length]),
    [
      ['/data/cc3m/0.jpg', 1],
      ['/data/cc3m/1.jpg', 2],
    ],
  );
});

test(reads, 'coco/annotations/captions_val2014.json', 'coco-captions', [
  [
    'coco_391895',
    'coco/val2014/COCO_val2014_000000391895.jpg',
    ['A man with a red helmet on a small moped.', 'Man riding a motor bike.'],
    'val',
  ],
  [
    'coco_522418',
    'coco/val2014/COCO_val2014_000000522418.jpg',
    ['A woman wearing a net on her head.'],
    'val',
  ],
]);

test(
  reads,
  'flickr/results_20130124.token',
  'flickr30k-tokens',
  [
    [
      '1000092795',
      'pictures/1000092795.jpg',
      ['Two young guys with shaggy hair .', 'Two young , White males are outside near many bushes .'],
      'train',
    ],
    ['10002456', 'pictures/10002456.jpg', ['Several men in hard hats # 2 .'], 'train'],
  ],
  'pictures',
);
test(reads, 'flickr/results.csv', 'flickr30k-csv', [
  [
    '1000092795',
    'flickr/flickr30k-images/1000092795.jpg',
    ['Two young guys with shaggy hair .', 'Two young , White males .'],
    'train',
  ],
]);

test(reads, 'msrvtt/MSRVTT_data.json', 'msrvtt', [
  ['video0', 'msrvtt/videos/all/video0.mp4', ['a car is shown', 'a car drives'], 'train'],
  ['video6513', 'msrvtt/videos/all/video6513.mp4', ['a group is dancing'], 'val'],
]);
test(
  reads,
  'msrvtt/frozen/MSR_VTT.json',
  'msrvtt',
  [['video0', 'clips/video0.mp4', ['a car is shown'], 'train']],
  'clips',
);
test(reads, 'msrvtt/MSRVTT_JSFUSION_test.csv', 'msrvtt-list', [
  ['video9770', 'msrvtt/videos/all/video9770.mp4', ['a person is connecting something to system'], 'test'],
  ['video9771', 'msrvtt/videos/all/video9771.mp4', ['a little girl does gymnastics, "well"'], 'test'],
]);
test(reads, 'msrvtt/MSRVTT_train.9k.csv', 'msrvtt-list', [
  ['video0', 'msrvtt/videos/all/video0.mp4', ['a car is shown', 'a car drives'], 'train'],
  ['video6513', 'msrvtt/videos/all/video6513.mp4', ['a group is dancing'], 'train'],
]);

test(reads, 'tables/photos.csv', 'table', [
  ['a.jpg', 'tables/a.jpg', ['a red bus, "old"\nand big', 'the bus'], 'train'],
  ['b.jpg', 'tables/b.jpg', ['ein B\u00e4r'], 'test'],
]);
test(reads, 'tables/photos.parquet', 'table', [
  ['k0', 'tables/a.jpg', ['a red bus', 'the bus'], 'train'],
  ['k1', 'tables/b.jpg', ['a bear'], 'train'],
]);
test(reads, 'tables/clips.parquet', 'table', [['a.mp4', 'tables/a.mp4', ['a clip'], 'train']]);

const refuses = test.macro({
  async exec(t, name: string, content: string, message: RegExp) {
    const file = path.join(await temporaryFolder(t), name);
    await writeFile(file, content);
    await t.throwsAsync(openDataset(file), { code: 'ERR_COTS_DATA', message });
  },
  title: (title = '') => `refuses ${title}`,
});

test('refuses instances instead of captions', async (t) => {
  await t.throwsAsync(openDataset(path.join(root, 'coco/annotations/instances_val2014.json')), {
    code: 'ERR_COTS_DATA',
    message: /captions for its images, got none\. Take captions_\*\.json/,
  });
});
test('JSON of no known form', refuses, 'a.json', '{"rows": []}', /Karpathy.*BLIP.*got an object with rows/);
test('an empty list', refuses, 'a.json', '[]', /got an empty list/);
test('a broken JSON file', refuses, 'a.json', '[{', /a\.json to be JSON/);
test(
  'a BLIP row without an image',
  refuses,
  'a.json',
  '[{"caption": "a"}]',
  /row 0 .*`image` as a path, got undefined/,
);
test(
  'a BLIP caption that is a number',
  refuses,
  'a.json',
  '[{"image": "a", "caption": 3}]',
  /row 0 .*`caption` as a text or a list of texts, got 3/,
);
test(
  'a COCO caption of another image',
  refuses,
  'captions_val.json',
  '{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 2, "caption": "a"}]}',
  /annotation 0 .*`image_id` of an image of the file, got 2/,
);
test('a token line without a tab', refuses, 'a.token', 'a.jpg#0 one\n', /line 1 .*IMAGE#NUMBER, a tab/);
test(
  'a table without a known column',
  refuses,
  'a.csv',
  'x,y\n1,2\n',
  /column of image or video paths .*it has x, y/,
);
test('a row of another length', refuses, 'a.csv', 'image,caption\na.jpg\n', /as many cells in every row/);
test('a header alone', refuses, 'a.csv', 'image,caption\n', /to have a row, got none/);
test('a torn parquet file', refuses, 'a.parquet', 'PAR1 and then nothing', /a\.parquet to be a parquet file/);
test(
  'captions without their pictures',
  refuses,
  'a.tsv',
  'a cat\thttp://x\n',
  /found none of 1\. Download them/,
);
test(
  'a 1k-A list without its captions',
  refuses,
  'MSRVTT_train.9k.csv',
  'video_id\nvideo0\n',
  /MSRVTT_data\.json or MSR_VTT\.json beside/,
);
