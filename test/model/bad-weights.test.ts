/** Checkpoints and model folders that are not what they say: a sentence each, and nothing written. */
import { cp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { Cots, CotsError } from '../../lib/index.js';
import { importHuggingFace } from '../../lib/model/import-hugging-face.js';
import { changeTensors, numbers, type RawTensor } from '../support/safetensors.js';
import { temporaryFolder } from '../support/tiny.js';
import { weightsFolder } from '../support/weights.js';

type Tensors = Map<string, RawTensor>;
const firstQuery = 'encoder.layer.0.attention.attention.query.weight';

function poisoned(tensors: Tensors, name: string, value: number): void {
  const { bytes } = tensors.get(name) as RawTensor;
  new DataView(bytes.buffer, bytes.byteOffset).setFloat32(4, value, true);
}

function cast(tensors: Tensors, name: string, dtype: string, size: number): void {
  const { shape } = tensors.get(name) as RawTensor;
  const count = shape.reduce((product, side) => product * side, 1);
  tensors.set(name, { dtype, shape, bytes: new Uint8Array(count * size) });
}

/** A DeiT folder in one file, changed, beside a BERT. */
const refuseImport = test.macro({
  async exec(
    t,
    side: 'deit' | 'beit' | 'vit' | 'bert',
    change: (folder: string) => Promise<void>,
    message: RegExp,
  ) {
    const home = await temporaryFolder(t);
    const folder = path.join(home, side);
    await cp(weightsFolder(side), folder, { recursive: true });
    await change(folder);
    const out = path.join(home, 'out');
    const options = side === 'bert' ? { text: folder, out } : { image: folder, out };
    const error = await t.throwsAsync(() => importHuggingFace(options), { instanceOf: CotsError, message });
    t.is((error as CotsError).code as string, 'ERR_COTS_CHECKPOINT');
    t.deepEqual(await readdir(home), [side]);
  },
  title: (provided) => `import refuses ${provided}`,
});

const inWeights =
  (change: (tensors: Tensors) => void) =>
  (folder: string): Promise<void> =>
    changeTensors(path.join(folder, 'model.safetensors'), change);

const inConfig =
  (change: Record<string, unknown>) =>
  async (folder: string): Promise<void> => {
    const file = path.join(folder, 'config.json');
    await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), ...change }));
  };

test(
  'a missing tensor',
  refuseImport,
  'deit',
  inWeights((tensors) => tensors.delete(firstQuery)),
  /'visual\.blocks\.0\.q\.weight' is not there/,
);
test(
  'a layer that the config does not have',
  refuseImport,
  'deit',
  inConfig({ num_hidden_layers: 1 }),
  /got the tensor 'encoder\.layer\.1\..*does not have/,
);
test(
  'a tensor of another architecture',
  refuseImport,
  'deit',
  inWeights((tensors) => tensors.set('encoder.layer.0.attention.adapter.weight', numbers([4, 4]))),
  /got the tensor 'encoder\.layer\.0\.attention\.adapter\.weight', which such a model does not have/,
);
test(
  "BEiT's parts in a ViT",
  refuseImport,
  'deit',
  inWeights((tensors) => tensors.set('encoder.layer.0.lambda_1', numbers([32]))),
  /lambda_1/,
);
test(
  'one tensor under two names',
  refuseImport,
  'deit',
  inWeights((tensors) => tensors.set(`deit.${firstQuery}`, numbers([32, 32]))),
  /once, got/,
);
test(
  'a tensor of another shape',
  refuseImport,
  'deit',
  inWeights((tensors) => tensors.set('layernorm.bias', numbers([31]))),
  /'visual\.norm\.bias' of shape \[32\].*got \[31\]/,
);
test(
  'int8 weights',
  refuseImport,
  'deit',
  inWeights((tensors) => cast(tensors, firstQuery, 'I8', 1)),
  /type Char.*Quantized/,
);
test(
  'NaN among the weights',
  refuseImport,
  'deit',
  inWeights((tensors) => poisoned(tensors, firstQuery, Number.NaN)),
  /attention\.query\.weight'.*NaN or infinity/,
);
test(
  'an infinite weight',
  refuseImport,
  'deit',
  inWeights((tensors) => poisoned(tensors, firstQuery, Infinity)),
  /NaN or infinity/,
);
test(
  'a torn file',
  refuseImport,
  'deit',
  (folder) => writeFile(path.join(folder, 'model.safetensors'), new Uint8Array(99)),
  /complete safetensors file/,
);
test(
  'another model_type',
  refuseImport,
  'deit',
  inConfig({ model_type: 'swin' }),
  /"model_type".*vit, deit, beit, got "swin"/,
);
test(
  'a text tower as an image tower',
  refuseImport,
  'deit',
  inConfig({ model_type: 'bert' }),
  /Name a BERT with --text/,
);
test(
  'heads that do not divide the width',
  refuseImport,
  'deit',
  inConfig({ num_attention_heads: 3 }),
  /multiple of model\.image\.heads \(3\).*deit.config\.json/,
);
test(
  'an oblong image',
  refuseImport,
  'deit',
  inConfig({ image_size: [32, 48] }),
  /"image_size".*two equal ones/,
);
test(
  'another activation',
  refuseImport,
  'deit',
  inConfig({ hidden_act: 'relu' }),
  /"hidden_act".*gelu, got "relu"/,
);
test(
  'a bias table that is not there',
  refuseImport,
  'beit',
  inConfig({ use_absolute_position_embeddings: true }),
  /use_absolute_position_embeddings/,
);
test(
  'a processor of another size',
  refuseImport,
  'deit',
  async (folder) => {
    const file = path.join(folder, 'preprocessor_config.json');
    const settings = { ...JSON.parse(await readFile(file, 'utf8')), crop_size: { height: 24, width: 24 } };
    await writeFile(file, JSON.stringify(settings));
  },
  /crop to the square.*32 x 32/,
);
for (const [count, change] of [
  [51, (words: string) => `${words}more\n`],
  [49, (words: string) => words.replace(/[^\n]*\n$/, '')],
] as const)
  test(
    `a vocabulary of ${count} words for a table of 50`,
    refuseImport,
    'bert',
    async (folder) => {
      const file = path.join(folder, 'vocab.txt');
      await writeFile(file, change(await readFile(file, 'utf8')));
    },
    new RegExp(`tokenizer in .*bert to have the 50 words.*got ${count}`),
  );
test(
  'a shard that is not there',
  refuseImport,
  'vit',
  async (folder) => {
    const [shard] = (await readdir(folder)).filter((name) => /^model-.*safetensors$/.test(name));
    await rm(path.join(folder, shard as string));
  },
  /shard .*model-00001.*found none\. Fetch all shards/,
);
test(
  'shards of another revision',
  refuseImport,
  'vit',
  async (folder) => {
    const [first, second] = (await readdir(folder))
      .filter((name) => /^model-.*safetensors$/.test(name))
      .sort() as [string, string];
    await rename(path.join(folder, first), path.join(folder, 'kept'));
    await rename(path.join(folder, second), path.join(folder, first));
    await rename(path.join(folder, 'kept'), path.join(folder, second));
  },
  /only tensors that .* places there/,
);
test(
  'an index that names a file elsewhere',
  refuseImport,
  'vit',
  (folder) =>
    writeFile(
      path.join(folder, 'model.safetensors.index.json'),
      JSON.stringify({ weight_map: { 'layernorm.weight': '../bert/model.safetensors' } }),
    ),
  /\.safetensors files beside it/,
);

/** A model folder of cots, changed. */
const refuseLoad = test.macro({
  async exec(t, change: (tensors: Tensors) => void, message: RegExp) {
    const out = path.join(await temporaryFolder(t), 'model');
    await importHuggingFace({ image: weightsFolder('deit'), text: weightsFolder('bert'), out });
    await changeTensors(path.join(out, 'model.safetensors'), change);
    const error = await t.throwsAsync(() => Cots.load(out), { instanceOf: CotsError, message });
    t.is((error as CotsError).code as string, 'ERR_COTS_CHECKPOINT');
  },
  title: (provided) => `loading refuses ${provided}`,
});
test(
  'a missing tensor',
  refuseLoad,
  (tensors) => tensors.delete('text.embed.ln.bias'),
  /'text\.embed\.ln\.bias'.*found none/,
);
test(
  'a tensor too many',
  refuseLoad,
  (tensors) => tensors.set('text.blocks.7.ln1.bias', numbers([32])),
  /'text\.blocks\.7\.ln1\.bias', which such a model does not have/,
);
test(
  'int8 weights',
  refuseLoad,
  (tensors) => cast(tensors, 'visual.norm.weight', 'I8', 1),
  /'visual\.norm\.weight'.*type Char/,
);
test(
  'NaN among the weights',
  refuseLoad,
  (tensors) => poisoned(tensors, 'visual.norm.weight', Number.NaN),
  /'visual\.norm\.weight'.*NaN/,
);

/** The upper half of a float32. */
const bfloat16 = (x: number): number => (new Uint32Array(Float32Array.of(x).buffer)[0] as number) >>> 16;

/** Rounded towards 0; numbers too small for a normal float16 become 0. */
function float16(x: number): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer)[0] as number;
  const exponent = ((bits >>> 23) & 255) - 127 + 15;
  return ((bits >>> 16) & 0x8000) | (exponent <= 0 ? 0 : (exponent << 10) | ((bits >>> 13) & 1023));
}

for (const [dtype, narrow] of [
  ['F16', float16],
  ['BF16', bfloat16],
] as const)
  test(`a model folder of type ${dtype} loads as float32`, async (t) => {
    const out = path.join(await temporaryFolder(t), 'model');
    await importHuggingFace({ image: weightsFolder('deit'), out });
    const before = await embedOne(t, out);
    await changeTensors(path.join(out, 'model.safetensors'), (tensors) => {
      for (const [name, { shape, bytes }] of tensors) {
        const floats = new Float32Array(
          bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
        );
        const halves = Uint16Array.from(floats, narrow);
        tensors.set(name, { dtype, shape, bytes: new Uint8Array(halves.buffer) });
      }
    });
    const after = await embedOne(t, out);
    const cosine = before.reduce((sum, value, index) => sum + value * (after[index] as number), 0);
    t.true(cosine > 0.999 && !after.every((value, index) => value === before[index]), `cosine ${cosine}`);
  });

async function embedOne(t: Parameters<typeof temporaryFolder>[0], folder: string): Promise<Float32Array> {
  const model = await Cots.load(folder);
  t.teardown(() => model.dispose());
  const pixels = {
    data: Uint8Array.from({ length: 3 * 20 * 20 }, (_, i) => (i * 37) % 256),
    width: 20,
    height: 20,
  };
  return (await model.embedImages([pixels])).data;
}
