/** Models of one tower: what they embed, what they refuse, what their folders hold. */
import { readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { Cots, CotsError } from '../../lib/index.js';
import { importHuggingFace } from '../../lib/model/import-hugging-face.js';
import { cots } from '../support/cli.js';
import { temporaryFolder } from '../support/tiny.js';
import { awkwardTexts, referenceImages, weightsFolder } from '../support/weights.js';

test('a ViT alone embeds images, refuses texts, saves and loads', async (t) => {
  const out = path.join(await temporaryFolder(t), 'model');
  await importHuggingFace({ image: weightsFolder('vit'), out });
  t.deepEqual((await readdir(out)).sort(), ['config.json', 'model.safetensors', 'preprocessor_config.json']);
  const model = await Cots.load(out);
  t.teardown(() => model.dispose());
  t.is(model.config.towers, 'image');
  const rows = await model.embedImages(referenceImages());
  const error = await t.throwsAsync(() => model.embedTexts(['a dog']), {
    instanceOf: CotsError,
    message: /a text tower, got one of images alone/,
  });
  t.is((error as CotsError).code as string, 'ERR_COTS_OPTION');
  const copy = path.join(await temporaryFolder(t), 'copy');
  await model.save(copy);
  const again = await Cots.load(copy);
  t.teardown(() => again.dispose());
  t.deepEqual((await again.embedImages(referenceImages())).data, rows.data);
});

test('a BERT alone embeds texts, refuses images', async (t) => {
  const out = path.join(await temporaryFolder(t), 'model');
  await importHuggingFace({ text: weightsFolder('bert'), out });
  t.deepEqual((await readdir(out)).sort(), ['config.json', 'model.safetensors', 'tokenizer.json']);
  const model = await Cots.load(out);
  t.teardown(() => model.dispose());
  t.deepEqual((await model.embedTexts(awkwardTexts)).shape, [awkwardTexts.length, 32]);
  await t.throwsAsync(() => model.embedImages(referenceImages()), {
    message: /an image tower, got one of texts alone/,
  });
});

test('embedding with the tower that is not there writes nothing', async (t) => {
  const home = await temporaryFolder(t);
  const [modelPath, out] = [path.join(home, 'model'), path.join(home, 'out')];
  await importHuggingFace({ image: weightsFolder('vit'), out: modelPath });
  const texts = path.join(home, 'texts.txt');
  await writeFile(texts, 'a dog\n');
  const { code, stderr } = await cots('embed', 'texts', texts, '--model', modelPath, '--out', out);
  t.is(code, 1);
  t.regex(stderr, /a text tower, got one of images alone.*ERR_COTS_OPTION/);
  t.deepEqual((await readdir(home)).sort(), ['model', 'texts.txt']);
});

test('one tower over a model of both leaves none of its files', async (t) => {
  const out = path.join(await temporaryFolder(t), 'model');
  await importHuggingFace({ image: weightsFolder('vit'), text: weightsFolder('bert'), out });
  await importHuggingFace({ image: weightsFolder('vit'), out });
  t.deepEqual((await readdir(out)).sort(), ['config.json', 'model.safetensors', 'preprocessor_config.json']);
});

test('neither tower is refused', async (t) => {
  const out = path.join(await temporaryFolder(t), 'model');
  await t.throwsAsync(() => importHuggingFace({ out }), { message: /`image`, `text` or both, got neither/ });
});
