/** Attention maps against test/reference/make_attention_fixtures.py. */
import test from 'ava';
import { binding } from '../../lib/binding.js';
import { resolveModelConfig } from '../../lib/config/load.js';
import { nativeModelConfig } from '../../lib/config/native.js';
import { fixturePath, maxDifference, pick, readSettings, readTensors } from '../support/fixtures.js';

type Pool = 'cls' | 'mean';

const { scores, size, patch } = readSettings<{
  scores: Record<Pool, number>;
  size: number;
  patch: number;
}>('attention');
const tensors = readTensors('attention');
const configOf = (pool: Pool) =>
  nativeModelConfig(
    resolveModelConfig({
      pool,
      towers: 'image',
      image: { arch: 'custom', size, patch, width: 32, layers: 3, heads: 2, mlpRatio: 2 },
      embedDim: 16,
    }),
  );

async function mapOf(pool: Pool, method: 'relevancy' | 'patch_sim' | 'dino', startLayer: number) {
  const model = await binding().loadModel({
    config: configOf(pool),
    file: fixturePath('attention-weights.safetensors'),
    threads: 1,
    device: 'cpu',
    precision: 'float32',
  });
  return model
    .attentionMap({
      pixels: pick(tensors, 'image', Uint8Array),
      count: 1,
      mean: [0.5, 0.5, 0.5],
      std: [0.5, 0.5, 0.5],
      text: pick(tensors, 'text', Float32Array),
      method,
      startLayer,
      cancel: null,
    })
    .finally(() => model.dispose());
}

for (const pool of ['cls', 'mean'] as const)
  for (const [method, startLayer, name] of [
    ['relevancy', 0, 'relevancy_0'],
    ['relevancy', 1, 'relevancy_1'],
    ['relevancy', 2, 'relevancy_2'],
    ['relevancy', -1, 'relevancy_2'],
    ['patch_sim', -1, 'patch_sim'],
    ['dino', -1, 'dino'],
  ] as const)
    test(`${method} from layer ${startLayer}, pooled by ${pool}, is PyTorch's in float64`, async (t) => {
      const found = await mapOf(pool, method, startLayer);
      t.true(maxDifference(found.map, pick(tensors, `${pool}_${name}`, Float32Array)) < 1e-4);
      t.true(Math.abs(found.score - scores[pool]) < 1e-5);
    });

test('a layer that the tower has not is refused', async (t) => {
  await t.throwsAsync(mapOf('cls', 'relevancy', 3), { message: /below the image tower's 3 layers, got 3/ });
});
