/** Which steps a preprocessor_config.json asks for; what they make of pixels is in families.test.ts. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { viewOf } from '../../lib/model/image-input.js';
import { type ProcessorFamily, readImageRules, rulesAt } from '../../lib/model/image-rules.js';
import { temporaryFolder } from '../support/tiny.js';

const reads = test.macro({
  async exec(t, settings: object, size: number, family: ProcessorFamily, expected: object) {
    const file = path.join(await temporaryFolder(t), 'preprocessor_config.json');
    await writeFile(file, JSON.stringify(settings));
    t.like(await readImageRules(file, size, family), expected as never);
  },
  title: (provided) => `reads ${provided}`,
});
const square = { height: 224, width: 224 };
const stretched = { to: 'stretch', side: 256 } as const;
test('a square', reads, { size: square, resample: 3 }, 224, 'vit', { filter: 'bicubic', resize: null });
test('a number, as older files have', reads, { size: 224, resample: 2 }, 224, 'vit', {
  filter: 'bilinear',
  resize: null,
});
test(
  "a ViT's folder with DeiT's extractor",
  reads,
  {
    feature_extractor_type: 'DeiTFeatureExtractor',
    size: 256,
    crop_size: 224,
    do_center_crop: true,
    resample: 3,
  },
  224,
  'vit',
  { filter: 'bicubic', resize: stretched },
);
test("DeiT's defaults", reads, { image_processor_type: 'DeiTImageProcessorFast' }, 224, 'vit', {
  resize: stretched,
});
test(
  "CLIP's number is the shorter side",
  reads,
  { size: 224, crop_size: 224, do_center_crop: true },
  224,
  'clip',
  {
    mean: [0.48145466, 0.4578275, 0.40821073],
    resize: { to: 'shortest', side: 224 },
  },
);
test('no normalization', reads, { do_normalize: false }, 224, 'vit', { mean: [0, 0, 0], std: [1, 1, 1] });
test(
  'another rescale factor, as mean and deviation of pixels in [0, 1]',
  reads,
  { size: 224, do_rescale: false, image_mean: [127.5, 127.5, 127.5], image_std: [127.5, 127.5, 127.5] },
  224,
  'vit',
  { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
);

test('without a file the family decides, as far as the size allows', async (t) => {
  const file = path.join(await temporaryFolder(t), 'absent.json');
  t.like(await readImageRules(file, 224, 'deit'), { resize: stretched, filter: 'bicubic' });
  t.like(await readImageRules(file, 384, 'deit'), { resize: null });
  t.like(await readImageRules(file, 224, 'vit'), { resize: null, filter: 'bilinear' });
});

const refuses = test.macro({
  async exec(t, settings: object, message: RegExp) {
    const file = path.join(await temporaryFolder(t), 'preprocessor_config.json');
    await writeFile(file, JSON.stringify(settings));
    await t.throwsAsync(() => readImageRules(file, 224, 'vit'), { code: 'ERR_COTS_CHECKPOINT', message });
  },
  title: (provided) => `refuses ${provided}`,
});
test(
  "a size that is not the model's",
  refuses,
  { size: 384 },
  /the square that the model takes for a model of 224 x 224/,
);
test('a shorter side without a crop', refuses, { size: { shortest_edge: 224 } }, /without a crop/);
test(
  'a crop larger than the resize',
  refuses,
  { size: 200, do_center_crop: true, crop_size: 224 },
  /no less than it crops/,
);
test('an oblong size', refuses, { size: { height: 224, width: 160 } }, /resize to a square/);
test('no resize', refuses, { do_resize: false }, /"do_resize": false/);
test('a filter that is not there', refuses, { size: 224, resample: 0 }, /"resample"/);
test('a deviation of 0', refuses, { size: 224, image_std: [0, 1, 1] }, /three numbers above 0/);

test('the longer side of a frame is rounded down, the crop grows with the model', (t) => {
  const rules = {
    mean: [0, 0, 0],
    std: [1, 1, 1],
    filter: 'bicubic',
    resize: { to: 'shortest', side: 36 },
  } as const;
  const of = (width: number, height: number) => viewOf({ width, height }, 32, rules as never).frame;
  t.deepEqual(of(50, 37), { width: 48, height: 36 }); // 36 * 50 / 37 = 48.6
  t.deepEqual(of(31, 64), { width: 36, height: 74 });
  t.deepEqual(of(40, 40), { width: 36, height: 36 });
  t.deepEqual(rulesAt(rules as never, 32, 48).resize, { to: 'shortest', side: 54 });
});
