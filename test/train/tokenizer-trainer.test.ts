/** Whole runs of a tiny image tokenizer: events, files, seeds, abort, what is refused. */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { binding } from '../../lib/binding.js';
import { resolveConfig } from '../../lib/config/load.js';
import type { TrainConfigInput } from '../../lib/config/schema.js';
import { type TokenizerEvent, trainImageTokenizer } from '../../lib/train/tokenizer-trainer.js';
import { makeShapes, temporaryFolder, tinyConfig } from '../support/tiny.js';

type TokenizerOptions = NonNullable<TrainConfigInput['tokenizer']>;

async function run(
  manifest: string,
  out: string,
  over: TokenizerOptions = {},
  until = Infinity,
  onEvent: () => void = () => {},
): Promise<TokenizerEvent[]> {
  const config = resolveConfig(
    {
      ...tinyConfig(manifest, path.join(path.dirname(out), 'run')),
      token: { vocab: 32 },
      tokenizer: {
        hidden: 16,
        codebookDim: 8,
        blocks: 1,
        steps: 8,
        batchSize: 8,
        lr: 3e-3,
        out,
        ...over,
      },
    },
    [],
    'tokenizer',
  );
  const events: TokenizerEvent[] = [];
  const controller = new AbortController();
  for await (const event of trainImageTokenizer(config, { signal: controller.signal })) {
    events.push(event);
    onEvent();
    if (event.type === 'step' && event.step >= until) controller.abort(new Error('enough'));
  }

  return events;
}

async function prepared(t: ExecutionContext): Promise<{ folder: string; manifest: string }> {
  const folder = await temporaryFolder(t);
  return { folder, manifest: await makeShapes(folder, 40) };
}

const weights = async (folder: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(path.join(folder, 'dvae.safetensors')))
    .digest('hex');

test('the loss falls, and the folder says what was trained', async (t) => {
  const { folder, manifest } = await prepared(t);
  const out = path.join(folder, 'dvae');
  const events = await run(manifest, out, { steps: 150 });
  const steps = events.flatMap((event) => (event.type === 'step' ? [event] : []));
  t.deepEqual(
    steps.map(({ step }) => step),
    Array.from({ length: 150 }, (_, index) => index + 1),
  );
  const mean = (part: typeof steps): number =>
    part.reduce((sum, { reconstruction }) => sum + reconstruction, 0) / part.length;
  t.true(mean(steps.slice(-10)) < 0.5 * mean(steps.slice(0, 10)));

  const end = events.at(-1);
  if (end?.type !== 'end') return t.fail('no end');
  t.like(end, { step: 150, reason: 'done', path: out });
  t.true(end.health.softError > 0 && end.health.softError < 0.5);
  t.true(end.health.perplexity > 1 && end.health.perplexity <= 32);
  t.true(end.health.unigramEntropy >= 0 && end.health.unigramEntropy <= Math.log(32));
  t.deepEqual((await readdir(out)).sort(), ['config.json', 'dvae.safetensors']);
  const { training } = JSON.parse(await readFile(path.join(out, 'config.json'), 'utf8')) as {
    training: object;
  };
  t.like(training, { steps: 150, image_size: 16, ...end.health });
});

test('one seed gives the same bytes, another gives others', async (t) => {
  const { folder, manifest } = await prepared(t);
  const [first, second] = [path.join(folder, 'a'), path.join(folder, 'b')];
  await run(manifest, first);
  await run(manifest, second);
  t.is(await weights(first), await weights(second));
  await run(manifest, second, { steps: 9 }); // a tokenizer's folder is replaced
  t.not(await weights(first), await weights(second));
});

test('an abort ends the step and writes the folder as it is', async (t) => {
  const { folder, manifest } = await prepared(t);
  const out = path.join(folder, 'dvae');
  const end = (await run(manifest, out, {}, 3)).at(-1);
  t.like(end, { type: 'end', step: 3, reason: 'aborted' });
  t.deepEqual((await readdir(out)).sort(), ['config.json', 'dvae.safetensors']);
});

test('a folder of other things is not replaced, an empty one is; a loss that is not finite writes nothing', async (t) => {
  const { folder, manifest } = await prepared(t);
  const foreign = path.join(folder, 'foreign');
  await mkdir(foreign);
  await writeFile(path.join(foreign, 'diary.txt'), 'mine');
  await t.throwsAsync(run(manifest, foreign), {
    code: 'ERR_COTS_DATA',
    message: /a new or empty folder, or a tokenizer to replace, got a folder with diary\.txt/,
  });
  t.deepEqual(await readdir(foreign), ['diary.txt']);
  let steps = 0;
  await t.throwsAsync(
    run(manifest, path.join(foreign, 'diary.txt', 'dvae'), {}, Infinity, () => steps++),
    { code: 'ERR_COTS_FILE', message: /diary\.txt/ },
  );
  t.is(steps, 0); // told before any training

  const empty = path.join(folder, 'empty');
  await mkdir(empty);
  await run(manifest, empty, { steps: 1 });
  t.deepEqual((await readdir(empty)).sort(), ['config.json', 'dvae.safetensors']);

  const out = path.join(folder, 'dvae');
  await t.throwsAsync(run(manifest, out, { lr: 10, klWeight: 1e40, steps: 50 }), {
    code: 'ERR_COTS_NON_FINITE',
    message: /^Expected a finite loss and gradient, got loss .* at step \d+\. Lower tokenizer\.lr\.$/,
  });
  t.false((await readdir(folder)).includes('dvae'));
});

// Serial: it replaces a native call, which no test beside it may see.
test.serial('a gradient that is not finite is as bad as a loss', async (t) => {
  const { folder, manifest } = await prepared(t);
  const native = binding();
  const { createTokenizerTrainer } = native;
  native.createTokenizerTrainer = async (o) => {
    const trainer = await createTokenizerTrainer(o);
    const step = trainer.step.bind(trainer);
    const overflowing: typeof step = async (batch) => ({
      ...(await step(batch)),
      gradNorm: Number.POSITIVE_INFINITY,
    });
    return Object.defineProperty(trainer, 'step', { value: overflowing });
  };
  try {
    await t.throwsAsync(run(manifest, path.join(folder, 'dvae')), {
      code: 'ERR_COTS_NON_FINITE',
      message: /^Expected a finite loss and gradient, got loss [\d.]+ and gradient norm Infinity at step 1\./,
    });
  } finally {
    native.createTokenizerTrainer = createTokenizerTrainer;
  }
});

test('another device than the CPU is refused', async (t) => {
  const { folder, manifest } = await prepared(t);
  const config = resolveConfig(tinyConfig(manifest, folder, { train: { device: 'cuda' } }), [], 'tokenizer');
  await t.throwsAsync(trainImageTokenizer(config).next(), {
    code: 'ERR_COTS_NOT_IMPLEMENTED',
    message: /got 'cuda': training an image tokenizer runs on CPUs alone.*train\.device=cpu/,
  });
});
