/** Each family of checkpoints, saved by transformers, against transformers' own pixels, ids and embeddings. */
import { cp } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { Cots } from '../../lib/index.js';
import { importClip } from '../../lib/model/import-clip.js';
import { importHuggingFace } from '../../lib/model/import-hugging-face.js';
import { readPreprocessed } from '../../lib/model/preprocessed.js';
import { changeTensors } from '../support/safetensors.js';
import { temporaryFolder } from '../support/tiny.js';
import {
  awkwardTexts,
  differenceFrom,
  referenceIds,
  referenceImages,
  weightsFolder,
} from '../support/weights.js';

const tolerance = 1e-4;

const imageFamily = test.macro({
  async exec(t, name: string, unused: readonly string[]) {
    const out = path.join(await temporaryFolder(t), 'model');
    const result = await importHuggingFace({ image: weightsFolder(name), out });
    t.deepEqual([...result.unused].sort(), [...unused].sort());
    const model = await Cots.load(out);
    t.teardown(() => model.dispose());
    const { pixelsOf } = await readPreprocessed(out);
    const pixels = differenceFrom((await pixelsOf(referenceImages())).data, `${name}.pixels`);
    t.true(pixels < 1e-6, `pixels differ by ${pixels}`);
    const { data } = await model.embedImages(referenceImages());
    const embeddings = differenceFrom(data, `${name}.embedding`);
    t.true(embeddings < tolerance, `embeddings differ by ${embeddings}`);
  },
  title: (name = '') => `pixels and embeddings are those of transformers: ${name}`,
});
test('ViT in shards, its pooler left out', imageFamily, 'vit', ['pooler.dense.bias', 'pooler.dense.weight']);
test('DeiT without its distillation token', imageFamily, 'deit', [
  'embeddings.distillation_token',
  'pooler.dense.bias',
  'pooler.dense.weight',
]);
test('BEiT with a bias a layer, LayerScale, mean pooling, in bfloat16', imageFamily, 'beit', [
  'classifier.bias',
  'classifier.weight',
]);
test('BEiT with one bias for all layers and a CLS state, in float16', imageFamily, 'beit-cls', [
  'lm_head.bias',
  'lm_head.weight',
]);

test('BEiT at another size: its tables resized as in its own fine-tuning', async (t) => {
  const out = path.join(await temporaryFolder(t), 'model');
  await importHuggingFace({ image: weightsFolder('beit'), out, imageSize: 44 });
  const model = await Cots.load(out);
  t.teardown(() => model.dispose());
  const { data } = await model.embedImages(referenceImages());
  // Float32 rounding of the table and a q that bisection leaves 1e-6 off.
  const difference = differenceFrom(data, 'beit.embedding_44');
  t.true(difference < tolerance, `embeddings differ by ${difference}`);
});

test('constants that older versions of transformers saved are left out', async (t) => {
  const home = await temporaryFolder(t);
  const folder = path.join(home, 'beit');
  await cp(weightsFolder('beit'), folder, { recursive: true });
  const names = [0, 1].map(
    (layer) =>
      `beit.encoder.layer.${layer}.attention.attention.relative_position_bias.relative_position_index`,
  );
  await changeTensors(path.join(folder, 'model.safetensors'), (tensors) => {
    for (const name of names)
      tensors.set(name, { dtype: 'I64', shape: [50, 50], bytes: new Uint8Array(8 * 2500) });
  });
  const { unused } = await importHuggingFace({ image: folder, out: path.join(home, 'model') });
  t.deepEqual([...unused].sort(), [...names, 'classifier.bias', 'classifier.weight']);
});

test('BERT: prefix, gamma and beta, a cased vocabulary; ids and embeddings of awkward texts', async (t) => {
  const out = path.join(await temporaryFolder(t), 'model');
  await importHuggingFace({ text: weightsFolder('bert'), out });
  const { idsOf } = await readPreprocessed(out);
  const ids = await idsOf(awkwardTexts);
  for (const [row, expected] of referenceIds('bert').entries())
    t.deepEqual([...(ids[row] as Int32Array)], expected, JSON.stringify(awkwardTexts[row]).slice(0, 60));
  const model = await Cots.load(out);
  t.teardown(() => model.dispose());
  const { data } = await model.embedTexts(awkwardTexts);
  const difference = differenceFrom(data, 'bert.embedding');
  t.true(difference < tolerance, `embeddings differ by ${difference}`);
});

test('CLIP: pixels, ids of awkward texts, embeddings of both towers', async (t) => {
  const out = path.join(await temporaryFolder(t), 'model');
  const { config } = await importClip({ model: weightsFolder('clip'), out });
  t.is(config.embedDim, 16);
  const { idsOf, pixelsOf } = await readPreprocessed(out);
  const pixels = differenceFrom((await pixelsOf(referenceImages())).data, 'clip.pixels');
  t.true(pixels < 1e-6, `pixels differ by ${pixels}`);
  const ids = await idsOf(awkwardTexts);
  for (const [row, expected] of referenceIds('clip').entries()) {
    const end = expected.indexOf(expected.at(-1) as number) + 1; // CLIP reads a text up to its first end
    t.deepEqual(
      [...(ids[row] as Int32Array)],
      expected.slice(0, end),
      JSON.stringify(awkwardTexts[row]).slice(0, 60),
    );
  }

  const model = await Cots.load(out);
  t.teardown(() => model.dispose());
  const images = differenceFrom((await model.embedImages(referenceImages())).data, 'clip.image_embedding');
  t.true(images < tolerance, `image embeddings differ by ${images}`);
  const texts = differenceFrom((await model.embedTexts(awkwardTexts)).data, 'clip.text_embedding');
  t.true(texts < tolerance, `text embeddings differ by ${texts}`);
});
