/** BEiT's table of offsets from 14 x 14 to 24 x 24 patches, against scipy's splines. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { importHuggingFace } from '../../lib/model/import-hugging-face.js';
import { maxDifference } from '../support/fixtures.js';
import {
  float32,
  numbers,
  type RawTensor,
  readSafetensors,
  writeSafetensors,
} from '../support/safetensors.js';
import { temporaryFolder } from '../support/tiny.js';
import { referenceFloats } from '../support/weights.js';

const width = 6;
const heads = 3;

/** A BEiT of one layer and one pixel a patch whose table is the reference's. */
async function writeBeit(folder: string): Promise<void> {
  const layer = 'encoder.layer.0';
  const linear = (name: string, out: number, from: number): [string, RawTensor][] => [
    [`${name}.weight`, numbers([out, from])],
    [`${name}.bias`, numbers([out])],
  ];
  const norm = (name: string): [string, RawTensor][] => [
    [`${name}.weight`, numbers([width])],
    [`${name}.bias`, numbers([width])],
  ];
  const tensors = new Map<string, RawTensor>([
    ['embeddings.cls_token', numbers([1, 1, width])],
    ['embeddings.patch_embeddings.projection.weight', numbers([width, 3, 1, 1])],
    ['embeddings.patch_embeddings.projection.bias', numbers([width])],
    ...linear(`${layer}.attention.attention.query`, width, width),
    [`${layer}.attention.attention.key.weight`, numbers([width, width])],
    ...linear(`${layer}.attention.attention.value`, width, width),
    [
      `${layer}.attention.attention.relative_position_bias.relative_position_bias_table`,
      float32([27 ** 2 + 3, heads], referenceFloats('spline.table_14')),
    ],
    ...linear(`${layer}.attention.output.dense`, width, width),
    ...linear(`${layer}.intermediate.dense`, 12, width),
    ...linear(`${layer}.output.dense`, width, 12),
    ...norm(`${layer}.layernorm_before`),
    ...norm(`${layer}.layernorm_after`),
    ...norm('pooler.layernorm'),
  ]);
  await mkdir(folder);
  await writeSafetensors(path.join(folder, 'model.safetensors'), tensors);
  const config = {
    model_type: 'beit',
    hidden_size: width,
    num_hidden_layers: 1,
    num_attention_heads: heads,
    intermediate_size: 12,
    image_size: 14,
    patch_size: 1,
    layer_norm_eps: 1e-12,
    use_relative_position_bias: true,
    layer_scale_init_value: 0,
  };
  await writeFile(path.join(folder, 'config.json'), JSON.stringify(config));
}

test('27 x 27 offsets become 47 x 47 as scipy makes them, the rows of CLS are kept', async (t) => {
  const home = await temporaryFolder(t);
  await writeBeit(path.join(home, 'beit'));
  await importHuggingFace({ image: path.join(home, 'beit'), out: path.join(home, 'model'), imageSize: 24 });
  const table = (await readSafetensors(path.join(home, 'model', 'model.safetensors'))).get(
    'visual.blocks.0.rel_bias',
  );
  t.truthy(table);
  const { shape, bytes } = table as RawTensor;
  t.deepEqual(shape, [2212, heads]);
  const { buffer, byteOffset } = bytes;
  const ours = new Float32Array(buffer.slice(byteOffset), 0, 2212 * heads);
  const difference = maxDifference(ours, referenceFloats('spline.table_24'));
  t.true(difference < 1e-5, `tables differ by ${difference}`);
  t.deepEqual(ours.slice(-9), referenceFloats('spline.table_14').slice(-9));
});
