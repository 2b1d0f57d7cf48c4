/** A CLIP in use: its tokenizer's two forms, saving, batches, and what it cannot be used for. */
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { Cots, CotsError, Trainer } from '../../lib/index.js';
import { importClip } from '../../lib/model/import-clip.js';
import { maxDifference } from '../support/fixtures.js';
import { readSafetensors } from '../support/safetensors.js';
import { makeShapes, temporaryFolder, tinyConfig } from '../support/tiny.js';
import { awkwardTexts, differenceFrom, weightsFolder } from '../support/weights.js';

const tinyText = { width: 16, layers: 2, heads: 2, mlpRatio: 2, vocabSize: 80, maxPositions: 24 };

async function imported(
  t: Parameters<typeof temporaryFolder>[0],
  model = weightsFolder('clip'),
): Promise<string> {
  const out = path.join(await temporaryFolder(t), 'model');
  await importClip({ model, out });
  return out;
}

test('vocab.json and merges.txt make the tokenizer that tokenizer.json holds', async (t) => {
  const folder = path.join(await temporaryFolder(t), 'clip');
  await cp(weightsFolder('clip'), folder, { recursive: true });
  await rm(path.join(folder, 'tokenizer.json'));
  const model = await Cots.load(await imported(t, folder));
  t.teardown(() => model.dispose());
  const difference = differenceFrom((await model.embedTexts(awkwardTexts)).data, 'clip.text_embedding');
  t.true(difference < 1e-4, `text embeddings differ by ${difference}`);
});

test('a text embeds the same alone and among longer ones', async (t) => {
  const model = await Cots.load(await imported(t));
  t.teardown(() => model.dispose());
  const together = await model.embedTexts(awkwardTexts);
  for (const [row, text] of awkwardTexts.entries()) {
    const { data } = await model.embedTexts([text]);
    t.true(maxDifference(data, together.data.subarray(row * 16, (row + 1) * 16)) < 1e-5, text.slice(0, 40));
  }
});

test('the logit scale is kept, through loading and saving too', async (t) => {
  const folder = await imported(t);
  const scale = async (directory: string) =>
    (await readSafetensors(path.join(directory, 'model.safetensors'))).get('loss.logit_scale')?.bytes;
  const published = (await readSafetensors(path.join(weightsFolder('clip'), 'model.safetensors'))).get(
    'logit_scale',
  );
  t.deepEqual(await scale(folder), published?.bytes);
  const model = await Cots.load(folder);
  t.teardown(() => model.dispose());
  const copy = path.join(await temporaryFolder(t), 'copy');
  await model.save(copy);
  t.deepEqual(await scale(copy), published?.bytes);
  t.deepEqual(
    await readFile(path.join(copy, 'config.json'), 'utf8'),
    await readFile(path.join(folder, 'config.json'), 'utf8'),
  );
});

test('training from a CLIP, or with its vocabulary, is refused before it begins', async (t) => {
  const folder = await imported(t);
  const manifest = await makeShapes(await temporaryFolder(t), 24);
  const run = path.join(await temporaryFolder(t), 'run');
  for (const [over, code, message] of [
    [{ train: { init: folder } }, 'ERR_COTS_CONFIG', /activation.*CLIP's towers embed.*train\.init/],
    [
      { data: { vocabulary: folder, textMaxLen: 20 }, model: { text: { ...tinyText, vocabSize: 900 } } },
      'ERR_COTS_CONFIG',
      /\[MASK\].*CLIP/,
    ],
    [
      { model: { text: { ...tinyText, causal: true } } },
      'ERR_COTS_CONFIG',
      /`model\.text\.causal` to be false for training/,
    ],
    [{ model: { towers: 'image' } }, 'ERR_COTS_CONFIG', /`model\.towers` to be both/],
  ] as const) {
    const config = tinyConfig(manifest, run, over as never);
    const error = await t.throwsAsync(
      () => Trainer.create({ ...config, data: { ...config.data, train: manifest } }),
      {
        instanceOf: CotsError,
        message,
      },
    );
    t.is((error as CotsError).code as string, code);
  }
});

const refuse = test.macro({
  async exec(t, change: (folder: string) => Promise<void>, code: string, message: RegExp) {
    const folder = path.join(await temporaryFolder(t), 'clip');
    await cp(weightsFolder('clip'), folder, { recursive: true });
    await change(folder);
    const error = await t.throwsAsync(
      () => importClip({ model: folder, out: path.join(folder, '..', 'out') }),
      {
        instanceOf: CotsError,
        message,
      },
    );
    t.is((error as CotsError).code as string, code);
  },
  title: (provided) => `refused: ${provided}`,
});

async function editConfig(
  folder: string,
  edit: (config: Record<string, Record<string, unknown>>) => void,
): Promise<void> {
  const file = path.join(folder, 'config.json');
  const config = JSON.parse(await readFile(file, 'utf8')) as Record<string, Record<string, unknown>>;
  edit(config);
  await writeFile(file, JSON.stringify(config));
}
test(
  'another end of a text than the model looks for',
  refuse,
  (folder) =>
    editConfig(folder, (config) => {
      Object.assign(config['text_config'] as object, { eos_token_id: 7 });
    }),
  'ERR_COTS_CHECKPOINT',
  /end a text with the id 7/,
);
test(
  'an activation that is not known',
  refuse,
  (folder) =>
    editConfig(folder, (config) => {
      Object.assign(config['vision_config'] as object, { hidden_act: 'relu' });
    }),
  'ERR_COTS_CHECKPOINT',
  /"hidden_act".*quick_gelu or gelu, got "relu"/,
);
test(
  'merges that are no pairs',
  refuse,
  async (folder) => {
    await rm(path.join(folder, 'tokenizer.json'));
    await writeFile(path.join(folder, 'merges.txt'), '#version: 0.2\na b c\n');
  },
  'ERR_COTS_TOKENIZER',
  /two pieces a line/,
);
test(
  'no tokenizer',
  refuse,
  async (folder) => {
    await rm(path.join(folder, 'tokenizer.json'));
    await rm(path.join(folder, 'merges.txt'));
  },
  'ERR_COTS_TOKENIZER',
  /neither tokenizer\.json nor/,
);
