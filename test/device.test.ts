import test from 'ava';
import { binding, type NativeAccelerators } from '../lib/binding.js';
import { checkDevice, requireCpu, resolveConfig } from '../lib/config/load.js';
import { trainingPlacement } from '../lib/config/native.js';
import { resolveDevice, resolvePrecision } from '../lib/device.js';
import { Cots, ops, Trainer } from '../lib/index.js';
import { cudaFinding } from '../lib/inspect/doctor.js';
import { checkRanks } from '../lib/train/check-ranks.js';

const h200 = { name: 'NVIDIA H200', capability: 90, memoryBytes: 141 * 2 ** 30 };
const v100 = { name: 'Tesla V100', capability: 70, memoryBytes: 16 * 2 ** 30 };
const working: NativeAccelerators = {
  inLibtorch: true,
  inBuild: true,
  runtime: 13_000,
  driver: 13_020,
  architectures: [90, 80],
  devices: [h200, h200],
  failure: '',
};
const machine = (changes: Partial<NativeAccelerators> = {}, features: string[] = []) => ({
  libtorch: '2.13.0',
  cuda: { ...working, ...changes },
  cpu: { ...binding().info().cpu, features },
});

test('cpu is the default, and cuda is the first device', (t) => {
  t.is(resolveDevice(undefined, machine()), 'cpu');
  t.is(resolveDevice('cpu', machine({ inLibtorch: false })), 'cpu');
  t.is(resolveDevice('cuda', machine()), 'cuda:0');
  t.is(resolveDevice('cuda:1', machine()), 'cuda:1');
});

const refused = test.macro({
  exec(t, changes: Partial<NativeAccelerators>, device: string, ...says: RegExp[]) {
    const error = t.throws(() => resolveDevice(device, machine(changes)), { code: 'ERR_COTS_DEVICE' });
    for (const pattern of says) t.regex(error.message, pattern);
  },
  title: (name) => `a device is refused: ${name}`,
});

test(
  'libtorch for CPUs',
  refused,
  { inLibtorch: false },
  'cuda',
  /libtorch 2\.13\.0 for CPUs/,
  /COTS_LIBTORCH/,
);
test('built without nvcc', refused, { inBuild: false }, 'cuda', /no nvcc/, /npm run setup/);
test('no driver', refused, { driver: 0, devices: [] }, 'cuda', /driver for CUDA 13, found none/);
test('an old driver', refused, { driver: 12_080 }, 'cuda', /CUDA 13\.0 or later, got one for CUDA 12\.8/);
test(
  'a driver that fails',
  refused,
  { failure: 'unknown error', devices: [] },
  'cuda',
  /'unknown error'.*nvidia-smi/,
);
test('no device', refused, { devices: [] }, 'cuda', /found none.*CUDA_VISIBLE_DEVICES/);
test('one that is not there', refused, {}, 'cuda:2', /cuda:0 to cuda:1, got cuda:2/);
test(
  'an architecture that the kernels are not built for',
  refused,
  { devices: [v100] },
  'cuda',
  /\(8\.0, 9\.0, or later\), got cuda:0, Tesla V100 of compute capability 7\.0 with 16\.0 GiB/,
  /CMAKE_CUDA_ARCHITECTURES=70/,
);

test('a driver of the same major version and a later device will do', (t) => {
  t.is(resolveDevice('cuda', machine({ runtime: 13_020, driver: 13_000 })), 'cuda:0');
  t.is(resolveDevice('cuda', machine({ devices: [{ ...h200, capability: 120 }] })), 'cuda:0');
});

test('what is no device at all is an option error', (t) => {
  for (const device of ['gpu', 'cuda:', 'cuda:-1', 'cuda:1.5', 'CUDA', '', null, 0, 'cuda:9999'])
    t.throws(() => resolveDevice(device, machine()), { code: 'ERR_COTS_OPTION', message: /'cuda:N'/ });
});

test('precision: float32 by default on a CPU, bfloat16 on CUDA, and what a device cannot do is refused', (t) => {
  t.is(resolvePrecision(undefined), 'float32');
  t.is(resolvePrecision(undefined, 'cuda:0', machine()), 'bfloat16');
  t.is(resolvePrecision('float32', 'cuda:0', machine()), 'float32');
  t.throws(() => resolvePrecision('bfloat16', 'cuda:0', machine({ devices: [v100] })), {
    code: 'ERR_COTS_DEVICE',
    message: /8\.0 or later for bfloat16, got cuda:0, Tesla V100.*float32/,
  });
  t.is(resolvePrecision('float32', 'cuda:0', machine({ devices: [v100] })), 'float32');
  t.throws(() => resolvePrecision('int8', 'cuda:0', machine()), { code: 'ERR_COTS_NOT_IMPLEMENTED' });
  t.deepEqual(
    ['bfloat16', 'int8'].map((precision) => resolvePrecision(precision)),
    ['bfloat16', 'int8'],
  );
  t.throws(() => resolvePrecision('float16', 'cuda:0', machine()), { code: 'ERR_COTS_OPTION' });
});

test('doctor tells what CUDA there is, and what to do where it cannot be used', (t) => {
  t.like(cudaFinding('2.13.0', { ...working, inLibtorch: false }), { state: 'ok', advice: '' });
  const good = cudaFinding('2.13.0', working);
  t.is(good.state, 'ok');
  t.regex(good.found, /libtorch for CUDA 13\.0, kernels for 8\.0, 9\.0 and later, driver for 13\.2/);
  t.regex(good.found, /cuda:1 NVIDIA H200 of compute capability 9\.0 with 141\.0 GiB/);
  for (const changes of [
    { driver: 12_000 },
    { devices: [] },
    { inBuild: false },
    { devices: [h200, v100] },
  ]) {
    const found = cudaFinding('2.13.0', { ...working, ...changes });
    t.is(found.state, 'warning');
    t.regex(found.advice, /^Expected/);
  }
});

test('what a GPU trains with: whole micro-batches, embeddings that its kernel takes', (t) => {
  const config = (overrides: string[]) =>
    resolveConfig({ data: { train: 'a.jsonl' }, token: { tokenizer: 'd' } }, [
      'train.device=cuda',
      ...overrides,
    ]);
  t.is(config([]).train.precision, 'bfloat16');
  t.deepEqual(trainingPlacement(config([])), { device: 'cuda:0', precision: 'bfloat16' });
  t.notThrows(() => checkDevice(config([]), machine()));
  t.throws(() => checkDevice(config(['train.batchSize=10', 'train.accumulate=4']), machine()), {
    code: 'ERR_COTS_CONFIG',
    message: /multiple of `train.accumulate`.*10 and 4/,
  });
  t.throws(() => checkDevice(config(['model.embedDim=512']), machine()), {
    code: 'ERR_COTS_CONFIG',
    message: /at most 256.*512/,
  });
  t.throws(() => checkDevice(config([]), machine({ devices: [v100] })), { code: 'ERR_COTS_DEVICE' });
  t.throws(() => requireCpu(config([]), 'a plan'), {
    code: 'ERR_COTS_NOT_IMPLEMENTED',
    message: /a plan runs on CPUs/,
  });
});

test('a processor trains in bfloat16 where it multiplies such numbers', (t) => {
  const config = resolveConfig({ data: { train: 'a.jsonl' }, token: { tokenizer: 'd' } }, [
    'train.precision=bf16',
  ]);
  t.is(config.train.precision, 'bfloat16');
  for (const feature of ['avx512_bf16', 'amx_bf16'])
    t.notThrows(() => checkDevice(config, machine({}, ['avx2', feature])));
  t.throws(() => checkDevice(config, machine({}, ['avx2', 'fma'])), {
    code: 'ERR_COTS_DEVICE',
    message:
      'Expected a processor with AVX-512 BF16 or AMX for train.precision=bfloat16 on a CPU, got one with avx2, fma. Set train.precision=float32.',
  });
});

test('ranks on GPUs: a GPU each by the place on the machine, as many pairs each, whole moments', (t) => {
  const config = (overrides: string[]) =>
    resolveConfig({ data: { train: 'a.jsonl' }, token: { tokenizer: 'd' } }, [
      'train.device=cuda',
      'train.batchSize=64',
      ...overrides,
    ]);
  const deviceOf = (localRank: number, gpus: number, overrides: string[] = []) =>
    trainingPlacement(config(overrides), { localRank, gpus }).device;
  t.is(deviceOf(3, 8), 'cuda:3');
  t.is(deviceOf(3, 1), 'cuda:0', 'a launcher shows each process its own');
  t.is(deviceOf(3, 8, ['train.device=cuda:1']), 'cuda:1');
  t.is(deviceOf(3, 8, ['train.device=cpu']), 'cpu');
  t.notThrows(() => checkRanks(config(['train.accumulate=2']), 4));
  t.throws(() => checkRanks(config(['train.accumulate=2']), 5), {
    code: 'ERR_COTS_CONFIG',
    message: /ranks \(5\) times `train.accumulate` \(2\).*got 64. Use 60\./,
  });
  t.throws(() => checkRanks(config(['train.device=cuda:1']), 2), {
    code: 'ERR_COTS_CONFIG',
    message: /to be cuda with several ranks.*'cuda:1'/,
  });
  t.throws(() => checkRanks(config(['optim.sharded=true']), 2), {
    code: 'ERR_COTS_NOT_IMPLEMENTED',
    message: /optim.sharded=false/,
  });
  t.notThrows(() => checkRanks(config(['train.device=cuda:1', 'optim.sharded=true']), 1));
});

const onCpuBuild = binding().info().cuda.inLibtorch ? test.skip : test;

onCpuBuild('a build for CPUs refuses CUDA wherever a device is taken', async (t) => {
  const error = { code: 'ERR_COTS_DEVICE', message: /for CPUs alone/ };
  await t.throwsAsync(Cots.create({}, { device: 'cuda' }), error);
  await t.throwsAsync(Cots.load('nowhere', { device: 'cuda:0' }), error);
  const one = { data: Float32Array.of(1), shape: [1, 1] as [number, number] };
  await t.throwsAsync(ops.topK({ queries: one, gallery: one, k: 1, device: 'cuda' }), error);
  await t.throwsAsync(
    ops.momentumFilter({ scores: Float32Array.of(1), queueScores: Float32Array.of(1), device: 'cuda' }),
    error,
  );
  await t.throwsAsync(
    Trainer.create({
      data: { train: 'nowhere.jsonl' },
      loss: { weights: { cmvm: 0 } },
      train: { device: 'cuda' },
    }),
    error,
  );
});
