/** Help, exit codes and one-line failures of the real binary; no model needed. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { cots, cotsCommand } from '../support/cli.js';
import { makeShapes, temporaryFolder } from '../support/tiny.js';

const commands = [
  'doctor',
  'train',
  'train-tokenizer',
  'config',
  'eval',
  'embed',
  'embed images',
  'embed texts',
  'index',
  'search',
  'data',
  'data list',
  'data pack',
  'import',
  'import hf',
  'inspect',
  'inspect attention',
  'bench',
  'bench encode',
  'bench train',
  'bench load',
  'bench ops',
];

for (const command of commands) {
  test(`cots ${command} --help has an example of itself`, async (t) => {
    const { code, stdout, stderr } = await cots(...command.split(' '), '--help');
    t.is(code, 0);
    t.is(stderr, '');
    t.regex(stdout, new RegExp(`Example:\\n +\\$ cots ${command}`));
  });
}

test('help lists what is there and nothing else', async (t) => {
  const { stdout } = await cots('--help');
  for (const name of [
    'doctor',
    'train',
    'train-tokenizer',
    'config',
    'eval',
    'embed',
    'index',
    'search',
    'data',
    'import',
    'bench',
  ])
    t.regex(stdout, new RegExp(`^  ${name}\\b`, 'm'));
  const all = (
    await Promise.all([
      cots('--help'),
      cots('embed', '--help'),
      cots('bench', '--help'),
      cots('data', '--help'),
      cots('import', '--help'),
    ])
  )
    .map(({ stdout: text }) => text)
    .join('\n');
  t.regex(all, /^ {2}retrieval\b/m);
  t.regex(all, /^ {2}inspect\b/m);
});

test('config lists every key, those of a section, or one', async (t) => {
  const keysOf = async (...args: string[]) =>
    (JSON.parse((await cots('config', ...args, '--json')).stdout) as { keys: { key: string }[] }).keys.map(
      ({ key }) => key,
    );
  t.true((await keysOf()).length > 90);
  t.deepEqual(await keysOf('queue.size'), ['queue.size']);
  t.true((await keysOf('data.aug')).every((key) => key.startsWith('data.aug.')));
  t.is(
    (await cots('config', 'queue.size')).stdout,
    'queue.size = 12800\n    Pairs kept in the two queues of momentum features; any number, the queue wraps around. Takes a whole number from 1 to 100000000.\n',
  );
});

const fails = test.macro({
  async exec(t, args: string[], code: number, message: RegExp) {
    const outcome = await cots(...args);
    t.is(outcome.code, code, outcome.stderr);
    t.is(outcome.stdout, '');
    t.regex(outcome.stderr, message);
    t.is(outcome.stderr.trimEnd().split('\n').length, 1, outcome.stderr);
    t.regex(outcome.stderr, /^cots: /);
  },
  title: (_, args: string[] = []) => `fails on one line: cots ${args.join(' ')}`,
});

test(fails, ['config', 'quue.size'], 1, /name of a key.*`queue\.size`/);
test(fails, ['trian'], 2, /unknown command 'trian'.*train/);
test(fails, ['train'], 2, /--config/);
test(fails, ['train', '--config', 'x.yaml', 'steps'], 2, /key\.path=value/);
test(fails, ['train', '--config', 'x.yaml', '--resum', 'latest'], 2, /unknown option '--resum'.*--resume/);
test(fails, ['search', 'index'], 2, /missing required argument 'query'/);
test(fails, ['search', 'index', 'a', '-k', '0'], 2, /whole number/);
test(fails, ['embed', 'images', 'x', '--model', 'm', '--out', 'o', '--precision', 'int4'], 2, /int8/);
test(fails, ['bench', 'encode'], 2, /--model DIR or --config FILE/);
test(fails, ['train', '--config', 'nowhere.yaml'], 1, /nowhere\.yaml.*ERR_COTS_FILE/);
test(fails, ['eval', '--model', 'nowhere', '--data', 'nowhere.jsonl'], 1, /nowhere/);
test(fails, ['search', '/', 'a'], 1, /manifest\.json.*ERR_COTS_DATA/);
test(fails, ['export', 'hf', 'a', '--out', 'b'], 1, /a model folder at a, got nothing.*ERR_COTS_CHECKPOINT/);
test(fails, ['inspect', 'attention', 'a.jpg', 'dog'], 2, /--model/);
test(
  fails,
  ['inspect', 'attention', 'a.jpg', 'dog', '--model', 'nowhere', '--out', 'a.png'],
  1,
  /a model folder at nowhere/,
);
test(fails, ['bench', 'load'], 2, /--config/);
test(fails, ['data', 'check', 'x'], 1, /a data set at x, got no such file.*ERR_COTS_FILE/);
test(
  fails,
  ['import', 'clip', 'x', '--out', 'y'],
  1,
  /save_pretrained wrote at x, got nothing.*ERR_COTS_CHECKPOINT/,
);
test(fails, ['doctor', '--parity', 'x'], 1, /x to hold image_embeddings\.npy.*ERR_COTS_DATA/);
test(fails, ['doctor', '--model', 'x'], 2, /--model and --tolerance with --parity DIR/);

test(fails, ['trane', '--help'], 2, /unknown command 'trane'.*train/);
test(fails, ['eval', '--modle', 'm', '--data', 'd'], 2, /unknown option '--modle'.*--model/);
test(
  fails,
  ['embed', 'images', 'x', '--model', 'm', '--out', ''],
  2,
  /--out to be a value that is not empty/,
);
test(fails, ['search', 'x', '  '], 2, /<query> to be a value that is not empty/);
test(fails, ['search', 'index', 'a', '-k', '0x3'], 2, /whole number/);
test(
  fails,
  ['bench', 'encode', '--model', 'm', 'train.steps=3'],
  2,
  /only with --config, got 'train\.steps=3'/,
);

/** Runs a shell line in which $COTS is the command. */
function shell(line: string): Promise<{ code: number | null; stderr: string }> {
  return new Promise((resolve, reject) => {
    execFile(
      'bash',
      ['-o', 'pipefail', '-c', line],
      { env: { ...process.env, COTS: cotsCommand } },
      (error, _, stderr) => {
        const code = error === null ? 0 : error.code;
        if (typeof code === 'number') resolve({ code, stderr });
        else reject(error);
      },
    );
  });
}

test('a full disk behind stdout is one line; readers that go away are no failure', async (t) => {
  const full = await shell('$COTS --help > /dev/full');
  t.is(full.code, 1);
  t.regex(full.stderr, /^cots: Expected to write to stdout, got a full disk.* \[ERR_COTS_FILE\]\n$/);
  t.is((await shell('$COTS --help | head -1 > /dev/null')).code, 0);
  t.is((await shell('$COTS eval --nope 2>&1 >/dev/null | true')).code, 2);
});

test('--verbose adds the stack', async (t) => {
  const { code, stderr } = await cots('search', '/', 'a', '--verbose');
  t.is(code, 1);
  t.regex(stderr, /\n +at /);
});

test('an unknown config key names the nearest', async (t) => {
  const { code, stderr } = await cots('train', '--config', '/dev/null', 'train.batchsize=3');
  t.is(code, 1);
  t.regex(stderr, /`train\.batchsize`.*`train\.batchSize`/);
});

test("--version is the package's", async (t) => {
  const { stdout } = await cots('--version');
  t.regex(stdout, /^\d+\.\d+\.\d+\n$/);
});

test('data list counts by split; --json is one document', async (t) => {
  const folder = await temporaryFolder(t);
  const manifest = await makeShapes(folder, 12);
  const plain = await cots('data', 'list', manifest);
  t.regex(plain.stdout, /12 entries/);
  t.regex(plain.stdout, /train +- +12 +12 +0 +24 +2-2 +0/);
  const { stdout, code } = await cots('data', 'list', manifest, '--json');
  t.is(code, 0);
  t.like(JSON.parse(stdout), {
    entries: 12,
    kind: 'manifest',
    groups: [{ split: 'train', images: 12, captions: 24, mismatched: 0 }],
  });
});

test('train --dry-run prints the plan', async (t) => {
  const folder = await temporaryFolder(t);
  const config = path.join(folder, 'c.yaml');
  await writeFile(config, 'train:\n  steps: 100\n  batchSize: 8\n');
  const { stdout, code } = await cots(
    'train',
    '--config',
    config,
    '--dry-run',
    '--json',
    'loss.weights.cmvm=0',
  );
  t.is(code, 0);
  const plan = JSON.parse(stdout) as {
    steps: number;
    losses: Record<string, boolean>;
    flopsPerPair: { total: number; image: number };
    seconds: Record<string, number>;
    fit: { limitBytes: number; largestBatch: number };
  };
  t.is(plan.steps, 100);
  t.deepEqual(plan.losses, { instance: true, cmvm: false, cmlm: true, task: true });
  t.true(Math.abs(plan.flopsPerPair.image - 110.97e9) < 0.02e9, String(plan.flopsPerPair.image));
  const { total = 0, tokenise, ...parts } = plan.seconds;
  t.is(tokenise, 0);
  t.true(
    Object.values(parts).every((seconds) => seconds > 0 && seconds < total),
    'timed on this machine',
  );
  t.true(plan.fit.limitBytes > 2 ** 28 && plan.fit.largestBatch >= 1);
});
