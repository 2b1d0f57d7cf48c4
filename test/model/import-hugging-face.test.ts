/** A ViT and a BERT saved by transformers, against their own outputs (test/reference/make_golden.py). */
import { cp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { Cots, CotsError, type ImageInput } from '../../lib/index.js';
import { importHuggingFace } from '../../lib/model/import-hugging-face.js';
import { fixturePath, maxDifference, pick, readSettings, readTensors } from '../support/fixtures.js';
import { temporaryFolder } from '../support/tiny.js';

const vit = fixturePath('hf-vit');
const bert = fixturePath('hf-bert');
const tolerance = 1e-4;

function pixels(packed: Uint8Array, side: number): ImageInput[] {
  const bytes = 3 * side * side;
  return Array.from({ length: packed.length / bytes }, (_, i) => ({
    data: packed.subarray(i * bytes, (i + 1) * bytes),
    width: side,
    height: side,
  }));
}

for (const [imageSize, images, embedding] of [
  [undefined, 'images', 'image_embedding'],
  [48, 'images_48', 'image_embedding_48'],
] as const) {
  test(`image embeddings at ${imageSize ?? 'the own'} size are those of transformers, positions interpolated`, async (t) => {
    const out = path.join(await temporaryFolder(t), 'model');
    await importHuggingFace({
      image: vit,
      text: bert,
      out,
      ...(imageSize === undefined ? {} : { imageSize }),
    });
    const tensors = readTensors('hf-parity');
    const model = await Cots.load(out);
    t.teardown(() => model.dispose());
    const { data, shape } = await model.embedImages(
      pixels(pick(tensors, images, Uint8Array), imageSize ?? 32),
    );
    t.is(shape[1], 32);
    const difference = maxDifference(data, pick(tensors, embedding, Float32Array));
    t.true(difference < tolerance, `largest difference ${difference}`);
  });
}

test('text embeddings are those of transformers: empty, accents, Chinese, unknown words, 300 words cut to 40 tokens', async (t) => {
  const out = path.join(await temporaryFolder(t), 'model');
  const { config, missing, unused } = await importHuggingFace({ image: vit, text: bert, out });
  const { texts } = readSettings<{ texts: string[] }>('hf-parity');
  const model = await Cots.load(out);
  t.teardown(() => model.dispose());
  const { data, shape } = await model.embedTexts(texts);
  t.deepEqual(shape, [6, 48]);
  const difference = maxDifference(data, pick(readTensors('hf-parity'), 'text_embedding', Float32Array));
  t.true(difference < tolerance, `largest difference ${difference}`);
  t.is(config.embedDim, 0);
  t.deepEqual(unused, []);
  t.deepEqual(missing, ['visual.mask_token']);
});

test('one by one and in a batch: the same vectors to 1e-6', async (t) => {
  const out = path.join(await temporaryFolder(t), 'model');
  await importHuggingFace({ image: vit, text: bert, out });
  const { texts } = readSettings<{ texts: string[] }>('hf-parity');
  const model = await Cots.load(out);
  t.teardown(() => model.dispose());
  const together = await model.embedTexts(texts);
  for (const [row, text] of texts.entries()) {
    const alone = await model.embedTexts([text]);
    t.true(maxDifference(alone.data, together.data.subarray(row * 48, (row + 1) * 48)) < 1e-6);
  }
});

const refuse = test.macro({
  async exec(t, change: (folder: string) => Promise<void>, code: string, message: RegExp) {
    const folder = await temporaryFolder(t);
    const image = path.join(folder, 'vit');
    await cp(vit, image, { recursive: true });
    await change(image);
    const error = await t.throwsAsync(
      () => importHuggingFace({ image, text: bert, out: path.join(folder, 'out') }),
      { instanceOf: CotsError, message },
    );
    t.is((error as CotsError).code as string, code);
  },
  title: (provided) => `refused: ${provided}`,
});
test(
  'a pickled checkpoint',
  refuse,
  async (folder) => {
    await rm(path.join(folder, 'model.safetensors'));
    await writeFile(path.join(folder, 'pytorch_model.bin'), '');
  },
  'ERR_COTS_CHECKPOINT',
  /pytorch_model\.bin, a pickle.*save_pretrained\(FOLDER\)/,
);
test(
  'another architecture',
  refuse,
  (folder) => writeFile(path.join(folder, 'config.json'), '{"model_type": "clip"}'),
  'ERR_COTS_CHECKPOINT',
  /"model_type".*to be vit, deit, beit, got "clip".*cots import clip/,
);
test(
  'weights that are cut short',
  refuse,
  (folder) => writeFile(path.join(folder, 'model.safetensors'), new Uint8Array(100)),
  'ERR_COTS_CHECKPOINT',
  /model\.safetensors/,
);
test(
  'no weights',
  refuse,
  (folder) => rm(path.join(folder, 'model.safetensors')),
  'ERR_COTS_CHECKPOINT',
  /found none/,
);
