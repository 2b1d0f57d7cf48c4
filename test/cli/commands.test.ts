/** The way through: tokenizer, training, evaluation, embedding, index, search, bench, by the real binary. */
import { execFile } from 'node:child_process';
import { readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { stringify } from 'yaml';
import type { BenchRetrievalResult } from '../../lib/bench/retrieval.js';
import { cots, cotsCommand } from '../support/cli.js';
import { fixturePath } from '../support/fixtures.js';
import { makeShapes, temporaryFolder, tinyConfig } from '../support/tiny.js';

async function prepared(
  t: ExecutionContext,
  over: Parameters<typeof tinyConfig>[2] = {},
): Promise<{ folder: string; config: string; manifest: string; out: string }> {
  const folder = await temporaryFolder(t);
  const manifest = await makeShapes(folder, 24);
  const out = path.join(folder, 'run');
  const config = path.join(folder, 'config.yaml');
  await writeFile(config, stringify(tinyConfig(manifest, out, over)));
  return { folder, config, manifest, out };
}

async function json(t: ExecutionContext, ...args: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await cots(...args, '--json');
  t.is(code, 0, stderr);
  return JSON.parse(stdout) as Record<string, unknown>;
}

test('from images to answers', async (t) => {
  const { folder, config, manifest, out } = await prepared(t);
  const dvae = path.join(folder, 'dvae');
  const small = [
    'token.vocab=32',
    'tokenizer.hidden=16',
    'tokenizer.codebookDim=8',
    'tokenizer.blocks=1',
    'tokenizer.steps=4',
  ];
  t.like(await json(t, 'train-tokenizer', '--config', config, `token.tokenizer=${dvae}`, ...small), {
    out: dvae,
    step: 4,
    reason: 'done',
  });
  t.deepEqual((await readdir(dvae)).sort(), ['config.json', 'dvae.safetensors']);

  const trained = await json(
    t,
    'train',
    '--config',
    config,
    `token.tokenizer=${dvae}`,
    'loss.weights.cmvm=1',
    `data.validation=[{path: ${manifest}, split: train}]`,
  );
  t.like(trained, { step: 12, reason: 'done', checkpoint: path.join(out, 'checkpoints', 'step-00000012') });
  t.true((trained['metrics'] as { loss_cmvm: number }).loss_cmvm > 0);
  t.like(trained['evaluation'], { step: 12, protocol: 'plain', n: { images: 24, texts: 48 } });
  const model = path.join(out, 'latest');

  const evaluated = await json(t, 'eval', '--model', model, '--data', manifest, '--split', 'train');
  t.like(evaluated, {
    protocol: 'plain',
    n: { images: 24, texts: 48 },
    data: { path: manifest, split: 'train' },
  });
  t.is((evaluated['ranks'] as { textToImage: number[] }).textToImage.length, 48);
  t.is(evaluated['rsum'], (trained['evaluation'] as { rsum: number }).rsum);
  t.regex(
    (await cots('eval', '--model', model, '--data', manifest)).stdout,
    /R@1 +R@5[\s\S]*image to text[\s\S]*text to image/,
  );

  const embeddings = path.join(folder, 'emb');
  t.like(
    await json(t, 'embed', 'images', manifest, '--model', model, '--out', embeddings, '--batch-size', '5'),
    { rows: 24, dimension: 8 },
  );
  t.like(await json(t, 'embed', 'texts', manifest, '--model', model, '--out', path.join(folder, 'texts')), {
    rows: 48,
    dimension: 8,
  });
  const piped = `printf 'a red box\\na blue box\\n' | ${cotsCommand} embed texts - --model '${model}' --out '${folder}/piped' --json`;
  t.like(JSON.parse((await promisify(execFile)('sh', ['-c', piped])).stdout), { rows: 2, complete: true });
  const index = path.join(folder, 'index');
  t.like(await json(t, 'index', embeddings, '--out', index), { rows: 24, modality: 'image' });

  const file = path.join(folder, 'images', 'train-5.png');
  const byImage = await json(t, 'search', index, file, '-k', '3');
  t.deepEqual(byImage['query'], { image: file });
  t.like((byImage['results'] as object[])[0], { rank: 1, id: 'train-5', image: file });
  const byText = await json(t, 'search', embeddings, 'a red box on white', '-k', '2', '--model', model);
  t.is((byText['results'] as object[]).length, 2);
  t.regex((await cots('search', index, 'a red box')).stdout, /cosine +what +caption[\s\S]*train-\d+\.png/);
});

test('import hf, and a search with the imported model', async (t) => {
  const folder = await temporaryFolder(t);
  const out = path.join(folder, 'model');
  t.like(
    await json(
      t,
      'import',
      'hf',
      '--image',
      fixturePath('hf-vit'),
      '--text',
      fixturePath('hf-bert'),
      '--out',
      out,
      '--image-size',
      '48',
    ),
    { out, unused: [] },
  );
  t.deepEqual((await readdir(out)).sort(), [
    'config.json',
    'model.safetensors',
    'preprocessor_config.json',
    'tokenizer.json',
  ]);
  await writeFile(path.join(out, 'trainer.json'), '{}');
  const over = await cots(
    'import',
    'hf',
    '--image',
    fixturePath('hf-vit'),
    '--text',
    fixturePath('hf-bert'),
    '--out',
    out,
  );
  t.is(over.code, 1);
  t.regex(over.stderr, /a model to replace, got a folder with trainer\.json/);
  await rm(path.join(out, 'trainer.json'));
  await makeShapes(folder, 6);
  const embeddings = path.join(folder, 'emb');
  t.like(await json(t, 'embed', 'images', path.join(folder, 'images'), '--model', out, '--out', embeddings), {
    rows: 6,
    dimension: 32,
  });
  t.is(
    (
      (await json(t, 'search', embeddings, path.join(folder, 'images', 'train-1.png')))['results'] as {
        id: string;
      }[]
    )[0]?.id,
    'train-1',
  );
  const text = await cots('search', embeddings, 'a red apple');
  t.is(text.code, 1);
  t.regex(text.stderr, /no projection/);
});

const share = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value) && value > 0;
const finite = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value) && value > 0;

test('bench encode: the fields of DESIGN 4, images and texts', async (t) => {
  const { config } = await prepared(t);
  for (const [modality, precision] of [
    ['image', 'float32'],
    ['text', 'int8'],
  ] as const) {
    const result = await json(
      t,
      'bench',
      'encode',
      '--config',
      config,
      '--modality',
      modality,
      '--precision',
      precision,
      '--batch-size',
      '4',
      '--seconds',
      '0.2',
    );
    t.true(
      finite(result['itemsPerSecond']) &&
        finite(result['flopsPerItem']) &&
        finite(result['peakMemoryBytes']) &&
        finite(result['threads']),
    );
    t.deepEqual(Object.keys(result['stages'] as object), [
      'decode',
      'preprocess',
      'copy',
      'forward',
      'normalise',
    ]);
    t.deepEqual(Object.keys(result['latencyMs'] as object), ['p50', 'p95', 'p99']);
    t.true(share(result['utilisation']), String(result['utilisation']));
    t.like(result, { device: 'cpu', precision });
    t.regex((result['versions'] as { libtorch: string }).libtorch, /^2\./);
  }
});

test('bench train: made data, a full random queue, a random tokenizer', async (t) => {
  const { config } = await prepared(t);
  const result = await json(
    t,
    'bench',
    'train',
    '--config',
    config,
    '--steps',
    '2',
    'data.train=null',
    'loss.weights.cmvm=1',
    'token.vocab=32',
    'tokenizer.hidden=16',
    'tokenizer.codebookDim=8',
    'train.batchSize=64', // blocks of memory that are counted
  );
  t.like(result, { data: 'made', steps: 2, batchSize: 64 });
  t.true(finite(result['pairsPerSecond']) && finite(result['flopsPerItem']));
  t.deepEqual(Object.keys(result['stages'] as object), [
    'load',
    'tokenise',
    'cleanPass',
    'maskedPass',
    'momentum',
    'losses',
    'backward',
    'optimizer',
  ]);
  t.true(finite((result['stages'] as { tokenise: number }).tokenise));
  t.true(share(result['utilisation']));
  const owners = result['memoryBytes'] as Record<string, number>;
  t.deepEqual(Object.keys(owners), ['weights', 'optimizer', 'momentum', 'queues', 'activations']);
  t.true(Object.values(owners).every((bytes) => bytes > 0));
});

test('bench train and ops print shares, the rate against the peak, and memory by owner', async (t) => {
  const { config } = await prepared(t);
  const train = await cots('bench', 'train', '--config', config, '--steps', '1', 'data.train=null');
  t.regex(train.stdout, /^\d+ GFLOP\/s, \d+ % of the \d+ of a dense product here$/m);
  t.regex(train.stdout, /^backward +[\d.]+ +\d+ %$/m);
  t.regex(train.stdout, /^activations +[\d.]+ \S+$/m);
  const ops = await cots('bench', 'ops', '--op', 'queueContrast', '--seconds', '0.1');
  t.regex(ops.stdout, /^op .* GFLOP\/s +of peak$/m);
  t.regex(ops.stdout, /n 4096 .* +\d+ %$/m);
});

test('bench load: the rate of the loader on made photographs, and where an image spends its time', async (t) => {
  const { config } = await prepared(t);
  const result = await json(t, 'bench', 'load', '--config', config, '--batches', '2', 'data.train=null');
  t.like(result, { data: 'made', batches: 2, batchSize: 8, badImages: 0 });
  t.true(finite(result['itemsPerSecond']) && finite((result['latencyMs'] as { p50: number }).p50));
  const stages = result['stages'] as Record<string, number | null>;
  t.deepEqual(Object.keys(stages), ['read', 'decode', 'views', 'jpegViews']);
  t.true([stages['read'], stages['decode'], stages['views']].every(finite));
});

test('bench retrieval: every term told, pairs multiplied out', async (t) => {
  const { config } = await prepared(t);
  const size = ['--images', '100', '--texts', '500', '--sample-images', '9', '--sample-texts', '20'];
  const result = await json(
    t,
    'bench',
    'retrieval',
    '--config',
    config,
    ...size,
    '--calls',
    '2',
    '--pairs',
    '1',
  );
  const { twoStream, singleStream, detector } = result as unknown as BenchRetrievalResult;
  t.like(twoStream, { image: { measured: 9, items: 100 }, text: { measured: 20, items: 500 } });
  t.is(
    twoStream.seconds,
    100 / twoStream.image.perSecond + 500 / twoStream.text.perSecond + twoStream.scoreAndRankSeconds,
  );
  t.true(finite(twoStream.query.towerMs) && finite(twoStream.query.searchMs));
  t.deepEqual(
    singleStream.map(({ tokens, pairs }) => [tokens, pairs.measured, pairs.items]),
    [
      [45, 2, 50_000],
      [140, 2, 50_000],
    ],
  );
  t.deepEqual(detector, { secondsAnImage: 0.9, seconds: 90, measured: false });
  for (const { pairs, ratio, ratioWithDetector } of singleStream) {
    t.is(ratio, pairs.seconds / twoStream.seconds);
    t.true(ratioWithDetector === null || ratioWithDetector === (pairs.seconds + 90) / twoStream.seconds);
  }
});

test('bench ops: a row an op', async (t) => {
  const { rows } = (await json(t, 'bench', 'ops', '--op', 'momentumFilter', '--seconds', '0.1')) as {
    rows?: { op: string; calls: number }[];
  };
  t.is(rows?.length, 1);
  t.is(rows?.[0]?.op, 'momentumFilter');
  t.true((rows?.[0]?.calls ?? 0) >= 3);
});

test('doctor finds the addon and libtorch', async (t) => {
  const { ok, findings } = (await json(t, 'doctor')) as {
    ok?: boolean;
    findings?: { name: string; state: string; found: string }[];
  };
  t.true(ok);
  t.deepEqual(
    findings?.map(({ name }) => name),
    ['node', 'libtorch', 'addon', 'cpu', 'plans', 'cuda', 'threads', 'memory', 'sharp', 'ffmpeg', 'cache'],
  );
  t.regex(findings?.find(({ name }) => name === 'addon')?.found ?? '', /libtorch 2\./);
  t.regex(findings?.find(({ name }) => name === 'plans')?.found ?? '', /bfloat16: .*; int8: /);
});
