/** scripts/convert-dvae.py: pickles of torch become a tokenizer folder, hostile ones do nothing. */
import { execFile } from 'node:child_process';
import { copyFile, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { binding, packageRoot } from '../../lib/binding.js';
import { Trainer } from '../../lib/index.js';
import { readTokenizerFolder } from '../../lib/train/tokenizer-folder.js';
import { fixturePath, pick, readTensors } from '../support/fixtures.js';
import { readSafetensors } from '../support/safetensors.js';
import { makeShapes, temporaryFolder, tinyConfig } from '../support/tiny.js';

const run = promisify(execFile);
const pickles = fixturePath('dvae-pickles');

/** Isolated: the script needs nothing but Python. */
async function convert(...args: string[]): Promise<{ code: number; stderr: string }> {
  const script = path.join(packageRoot(), 'scripts', 'convert-dvae.py');
  try {
    await run('python3', ['-I', '-S', script, ...args]);
    return { code: 0, stderr: '' };
  } catch (error) {
    const { code, stderr } = error as { code: number; stderr: string };
    return { code, stderr };
  }
}

for (const name of ['encoder.pkl', 'encoder-stream.pkl']) {
  test(`${name}: every weight, and the tokens of PyTorch`, async (t) => {
    const out = path.join(await temporaryFolder(t), 'dvae');
    t.deepEqual(
      await convert(path.join(pickles, name), '--decoder', path.join(pickles, 'decoder.pkl'), '--out', out),
      { code: 0, stderr: '' },
    );
    const expected = await readSafetensors(fixturePath('dvae-openai.safetensors'));
    const written = await readSafetensors(path.join(out, 'dvae.safetensors'));
    t.deepEqual([...written.keys()].sort(), [...expected.keys()].sort());
    for (const [tensor, value] of written) t.deepEqual(value, expected.get(tensor), tensor);

    const { config, file } = await readTokenizerFolder(out);
    t.deepEqual(config, {
      arch: 'openai',
      vocab: 32,
      hidden: 8,
      codebookDim: 8,
      blocks: 2,
      pixels: 'map_pixels',
    });
    const tokenizer = await binding().loadTokenizer({ config, file, threads: 1 });
    t.teardown(() => tokenizer.dispose());
    const golden = readTensors('dvae');
    const images = pick(golden, 'images', Uint8Array);
    t.deepEqual(
      await tokenizer.tokens({ images, count: 3, size: 48, cancel: null }),
      pick(golden, 'openai_tokens', Int32Array),
    );
  });
}

test('an encoder alone serves training as `token.tokenizer`', async (t) => {
  const home = await temporaryFolder(t);
  const dvae = path.join(home, 'dvae');
  t.is((await convert(path.join(pickles, 'encoder.pkl'), '--out', dvae)).code, 0);
  const manifest = await makeShapes(home, 24);
  const config = tinyConfig(manifest, path.join(home, 'run'), {
    token: { tokenizer: dvae },
    loss: { weights: { cmvm: 1 } },
    train: { batchSize: 8, steps: 2, threads: 1, out: path.join(home, 'run') },
  });
  const trainer = await Trainer.create({ ...config, loss: { ...config.loss, weights: { cmvm: 1 } } });
  t.teardown(() => trainer.dispose());
  const losses: number[] = [];
  for await (const event of trainer.run()) if (event.type === 'step') losses.push(event.loss_cmvm);
  t.is(losses.length, 2);
  t.true(
    losses.every((loss) => loss > 1 && loss < 5),
    losses.join(', '),
  ); // near ln 32
});

/** A pickle that calls `module.name(*args)`, by hand: protocol 2 GLOBAL and REDUCE. */
const calling = (module: string, name: string, argument: string): Buffer =>
  Buffer.concat([
    Buffer.from('\x80\x02', 'latin1'),
    Buffer.from(`c${module}\n${name}\n`),
    Buffer.from(`(V${argument}\ntR.`),
  ]);

const refuses = test.macro({
  async exec(t, make: (folder: string) => Promise<string>, message: RegExp) {
    const home = await temporaryFolder(t);
    const file = await make(home);
    const before = await readdir(home);
    const { code, stderr } = await convert(file, '--out', path.join(home, 'out'));
    t.is(code, 1);
    t.regex(stderr, message);
    t.false(stderr.includes('Traceback'), stderr);
    t.deepEqual(await readdir(home), before);
  },
  title: (provided) => `refused, and nothing happens: ${provided}`,
});
const hostile =
  (module: string, name: string) =>
  async (folder: string): Promise<string> => {
    const file = path.join(folder, 'encoder.pkl');
    await writeFile(file, calling(module, name, `touch ${path.join(folder, 'run')}`));
    return file;
  };
test('os.system', refuses, hostile('os', 'system'), /it names os\.system/);
test('posix.system', refuses, hostile('posix', 'system'), /it names posix\.system/);
test('builtins.eval', refuses, hostile('builtins', 'eval'), /it names builtins\.eval/);
test('a function of torch', refuses, hostile('torch.hub', 'load'), /it names torch\.hub\.load/);
test(
  'a path through torch',
  refuses,
  hostile('torch.nn.modules.module', 'torch.os.system'),
  /it names torch\.nn\.modules\.module\.torch\.os\.system/,
);
test(
  'a class of dall_e that calls others',
  refuses,
  hostile('dall_e.encoder', 'Encoder'),
  /it is no file of torch\.save/,
);
test(
  'a hostile pickle inside an archive of torch',
  refuses,
  async (folder) => {
    const file = path.join(folder, 'encoder.pkl');
    await copyFile(path.join(pickles, 'encoder.pkl'), file);
    const script = [
      'import os, pickle, sys, zipfile',
      'class Bad:',
      '    def __reduce__(self): return os.system, ("touch " + sys.argv[2],)',
      'with zipfile.ZipFile(sys.argv[1], "w") as out: out.writestr("archive/data.pkl", pickle.dumps(Bad(), 2))',
    ].join('\n');
    await run('python3', ['-c', script, file, path.join(folder, 'run')]);
    return file;
  },
  /it names posix\.system/,
);
test(
  'an archive cut short',
  refuses,
  async (folder) => {
    const file = path.join(folder, 'encoder.pkl');
    await writeFile(file, (await readFile(path.join(pickles, 'encoder.pkl'))).subarray(0, 9000));
    return file;
  },
  /cannot be read|no file of torch/,
);
test(
  'a decoder as an encoder',
  refuses,
  async (folder) => {
    const file = path.join(folder, 'decoder.pkl');
    await copyFile(path.join(pickles, 'decoder.pkl'), file);
    return file;
  },
  /its tensor blocks\./,
);

test('a folder that holds other things is not written over', async (t) => {
  const home = await temporaryFolder(t);
  await writeFile(path.join(home, 'mine'), '');
  const { code, stderr } = await convert(path.join(pickles, 'encoder.pkl'), '--out', home);
  t.is(code, 1);
  t.regex(stderr, /new or empty folder/);
  t.deepEqual(await readdir(home), ['mine']);
});
