/** Folders for transformers: bit for bit what came from there, and the names that transformers gives its own files. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { Cots, CotsError } from '../../lib/index.js';
import { exportHuggingFace } from '../../lib/model/export-hugging-face.js';
import { importClip } from '../../lib/model/import-clip.js';
import { importHuggingFace } from '../../lib/model/import-hugging-face.js';
import { fixturePath, maxDifference } from '../support/fixtures.js';
import { type RawTensor, readSafetensors } from '../support/safetensors.js';
import { temporaryFolder } from '../support/tiny.js';
import { layouts, weightsFolder } from '../support/weights.js';

const weightsOf = (folder: string): Promise<Map<string, RawTensor>> =>
  readSafetensors(path.join(folder, 'model.safetensors'));
const sorted = (tensors: Map<string, RawTensor>): [string, RawTensor][] =>
  [...tensors].sort(([a], [b]) => (a < b ? -1 : 1));
const jsonOf = async (file: string): Promise<Record<string, unknown>> =>
  JSON.parse(await readFile(file, 'utf8'));

test('ViT and BERT go out as transformers saved them: every tensor, name and bit', async (t) => {
  const home = await temporaryFolder(t);
  const [model, out] = [path.join(home, 'model'), path.join(home, 'out')];
  await importHuggingFace({ image: fixturePath('hf-vit'), text: fixturePath('hf-bert'), out: model });
  const { models, apart } = await exportHuggingFace({ model, out });
  t.deepEqual(models, [
    { folder: path.join(out, 'image'), architecture: 'ViTModel' },
    { folder: path.join(out, 'text'), architecture: 'BertModel' },
  ]);
  t.is(apart, 'it has no projections');
  for (const [ours, theirs] of [
    ['image', 'hf-vit'],
    ['text', 'hf-bert'],
  ] as const) {
    t.deepEqual(sorted(await weightsOf(path.join(out, ours))), sorted(await weightsOf(fixturePath(theirs))));
    const [written, published] = [
      await jsonOf(path.join(out, ours, 'config.json')),
      await jsonOf(path.join(fixturePath(theirs), 'config.json')),
    ];
    for (const key of [
      'model_type',
      'hidden_size',
      'num_hidden_layers',
      'num_attention_heads',
      'intermediate_size',
      'layer_norm_eps',
      'image_size',
      'patch_size',
      'vocab_size',
      'max_position_embeddings',
      'hidden_act',
    ])
      t.deepEqual(written[key], published[key], key);
  }

  t.is(
    await readFile(path.join(out, 'text', 'vocab.txt'), 'utf8'),
    await readFile(path.join(fixturePath('hf-bert'), 'vocab.txt'), 'utf8'),
  );
});

const roundTrip = test.macro({
  async exec(t, image: string, text: string) {
    const home = await temporaryFolder(t);
    const [first, out, second] = ['first', 'out', 'second'].map((name) => path.join(home, name)) as [
      string,
      string,
      string,
    ];
    await importHuggingFace({ image: weightsFolder(image), text: weightsFolder(text), out: first });
    await exportHuggingFace({ model: first, out });
    await importHuggingFace({ image: path.join(out, 'image'), text: path.join(out, 'text'), out: second });
    for (const name of await readdir(first))
      t.true((await readFile(path.join(first, name))).equals(await readFile(path.join(second, name))), name);
  },
  title: (_, image, text) => `import, export, import changes no bit: ${image}, ${text}`,
});
for (const image of ['vit', 'deit', 'beit', 'beit-cls']) test(roundTrip, image, 'bert');

test('a CLIP goes out as it came in', async (t) => {
  const home = await temporaryFolder(t);
  const [first, out, second] = ['first', 'out', 'second'].map((name) => path.join(home, name)) as [
    string,
    string,
    string,
  ];
  await importClip({ model: weightsFolder('clip'), out: first });
  const { models } = await exportHuggingFace({ model: first, out });
  t.deepEqual(models, [{ folder: out, architecture: 'CLIPModel' }]);
  t.deepEqual(sorted(await weightsOf(out)), sorted(await weightsOf(weightsFolder('clip'))));
  await importClip({ model: out, out: second });
  for (const name of await readdir(first))
    t.true((await readFile(path.join(first, name))).equals(await readFile(path.join(second, name))), name);
});

async function projected(
  t: Parameters<typeof temporaryFolder>[0],
  pool: 'cls' | 'mean' = 'cls',
): Promise<string> {
  const folder = path.join(await temporaryFolder(t), 'model');
  const model = await Cots.create({
    image: { size: 16, patch: 4, width: 16, layers: 2, heads: 2, mlpRatio: 2 },
    text: { width: 16, layers: 2, heads: 2, mlpRatio: 2, vocabSize: 40, maxPositions: 12 },
    embedDim: 8,
    pool,
  });
  t.teardown(() => model.dispose());
  await model.save(folder);
  return folder;
}

test("a model with projections is a dual encoder under transformers' names and shapes", async (t) => {
  const model = await projected(t);
  const out = path.join(await temporaryFolder(t), 'out');
  const { models, apart } = await exportHuggingFace({ model, out });
  t.is(apart, null);
  t.deepEqual(models[0], { folder: path.join(out, '.'), architecture: 'VisionTextDualEncoderModel' });
  const { logit_scale: _, ...expected } = layouts.dual;
  const written = Object.fromEntries([...(await weightsOf(out))].map(([name, { shape }]) => [name, shape]));
  t.deepEqual(written, expected);

  // What transformers computes of a state h: 2^24 tanh(2^-24 (W h + b)), the pooler's other rows left out.
  const [theirs, ours] = [await weightsOf(out), await weightsOf(model)];
  const floats = (tensors: Map<string, RawTensor>, name: string): Float32Array => {
    const { bytes } = tensors.get(name) as RawTensor;
    return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  };
  const state = Float32Array.from({ length: 16 }, (_value, index) => Math.cos(index));
  const product = (matrix: Float32Array, x: Float32Array, bias?: Float32Array): Float32Array =>
    Float32Array.from({ length: matrix.length / x.length }, (_value, row) =>
      x.reduce(
        (sum, value, column) => sum + value * (matrix[row * x.length + column] as number),
        bias?.[row] ?? 0,
      ),
    );
  for (const [tower, name, projection] of [
    ['visual', 'vision_model', 'visual_projection'],
    ['text', 'text_model', 'text_projection'],
  ] as const) {
    const expectedRow = product(
      floats(ours, `${tower}.proj.weight`),
      state,
      floats(ours, `${tower}.proj.bias`),
    );
    const pooler = product(
      floats(theirs, `${name}.pooler.dense.weight`),
      state,
      floats(theirs, `${name}.pooler.dense.bias`),
    ).map(Math.tanh);
    const row = product(floats(theirs, `${projection}.weight`), pooler);
    t.true(maxDifference(row, expectedRow) < 1e-6, tower);
  }
});

test('a model that pools by mean goes out as two towers, with the reason', async (t) => {
  const out = path.join(await temporaryFolder(t), 'out');
  const { models, apart } = await exportHuggingFace({ model: await projected(t, 'mean'), out });
  t.deepEqual(
    models.map(({ architecture }) => architecture),
    ['ViTModel', 'BertModel'],
  );
  t.is(apart, 'it pools by mean');
});

test('refused: a folder of other things, a folder that is no model; nothing is written', async (t) => {
  const home = await temporaryFolder(t);
  const model = await projected(t);
  for (const [options, code] of [
    [{ model, out: model }, 'ERR_COTS_DATA'],
    [{ model: home, out: path.join(home, 'out') }, 'ERR_COTS_CHECKPOINT'],
  ] as const) {
    const error = await t.throwsAsync(() => exportHuggingFace(options), { instanceOf: CotsError });
    t.is((error as CotsError).code as string, code);
  }

  t.deepEqual(await readdir(home), []);
});

test('an export may be written again over itself', async (t) => {
  const model = await projected(t);
  const out = path.join(await temporaryFolder(t), 'out');
  await exportHuggingFace({ model, out });
  const before = await readFile(path.join(out, 'model.safetensors'));
  await exportHuggingFace({ model, out });
  t.true(before.equals(await readFile(path.join(out, 'model.safetensors'))));
});
