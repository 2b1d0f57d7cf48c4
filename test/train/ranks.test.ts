/** Data parallel runs of real processes: the numbers of one process, killed ranks, other numbers of ranks, an interrupt. */
import { cp, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { stringify } from 'yaml';
import { cotsRanks } from '../support/ranks.js';
import { makeShapes, temporaryFolder, tinyConfig } from '../support/tiny.js';
import { lines, trainerJson } from './runs.js';

type Row = Record<string, number>;
type Over = NonNullable<Parameters<typeof tinyConfig>[2]>;

const steps = 20;
/** A rank that is lost must not hold a test up. */
const timeout = 30;

/** A folder with a data set, and a config file for each run in it. */
async function workplace(t: ExecutionContext): Promise<(name: string, over?: Over) => Promise<string>> {
  const folder = await temporaryFolder(t);
  const manifest = await makeShapes(folder, 40);
  const validation = await makeShapes(folder, 9, 'val', 'validation.jsonl');
  await writeFile(path.join(folder, 'images', 'train-3.png'), 'no image');
  return async (name, over = {}) => {
    const config = path.join(folder, `${name}.yaml`);
    await writeFile(
      config,
      stringify(
        tinyConfig(manifest, path.join(folder, name), {
          ...over,
          train: { steps, timeout, ...over.train },
          data: { validation: [{ path: validation }], maxBadFraction: 0.2 },
        }),
      ),
    );
    return config;
  };
}

const runOf = (config: string): string => config.replace(/\.yaml$/, '');
const rowsOf = async (config: string, name: string): Promise<Row[]> =>
  (await lines(path.join(runOf(config), name))) as Row[];
const train = (config: string, ...more: string[]): string[] => ['train', '--config', config, ...more];

const losses = ['loss', 'loss_image_to_text', 'loss_text_to_image', 'loss_task', 'loss_cmlm'];
const counts = ['step', 'pairs', 'filter_kept', 'queue_valid'];

/** Every loss within 1e-4 and every count the same, step by step. */
function sameRun(t: ExecutionContext, found: readonly Row[], expected: readonly Row[]): void {
  t.is(found.length, expected.length);
  for (const [index, row] of found.entries()) {
    const want = expected[index] as Row;
    for (const key of counts) t.is(row[key], want[key], `${key} at step ${index + 1}`);
    for (const key of losses) {
      const difference = Math.abs((row[key] as number) - (want[key] as number));
      t.true(difference < 1e-4, `${key} at step ${index + 1}: ${row[key]}, one rank ${want[key]}`);
    }
  }
}

test.serial('2 and 4 processes make the run of one, a bad image and an evaluation included', async (t) => {
  t.timeout(180_000);
  const config = await workplace(t);
  const alone = await config('alone');
  t.is((await cotsRanks(1, train(alone)))[0]?.code, 0);
  const expected = await rowsOf(alone, 'metrics.jsonl');
  t.true(expected.some(({ filter_kept, pairs }) => (filter_kept as number) < (pairs as number)));
  const wanted = await trainerJson(path.join(runOf(alone), 'latest'));
  const dropped = (await rowsOf(alone, 'filtered.jsonl')).map(({ id, step }) => [id, step]);

  for (const world of [2, 4]) {
    const file = await config(`ranks${world}`, world === 4 ? { optim: { sharded: true } } : {});
    const outcomes = await cotsRanks(world, train(file, '--json'));
    const stderr = outcomes.map((outcome) => outcome.stderr).join('');
    t.true(
      outcomes.every(({ code }) => code === 0),
      stderr,
    );
    const printed = outcomes.map(({ stdout }) => stdout !== '');
    t.deepEqual(printed, [true, ...printed.slice(1).fill(false)], 'the first rank alone prints a result');
    sameRun(t, await rowsOf(file, 'metrics.jsonl'), expected);
    t.deepEqual(
      (await rowsOf(file, 'filtered.jsonl')).map(({ id, step }) => [id, step]),
      dropped,
    );
    t.deepEqual(
      (await lines(path.join(runOf(file), 'bad-images.jsonl'))).map(({ id }) => id),
      ['train-3'],
    );
    const state = await trainerJson(path.join(runOf(file), 'latest'));
    t.deepEqual(state['cursor'], wanted['cursor']);
    t.is((state['best'] as { rsum: number }).rsum, (wanted['best'] as { rsum: number }).rsum);
    const names: string[] = await readdir(path.join(runOf(file), 'latest'));
    t.is(names.filter((name) => name.startsWith('state-')).length, world);
  }
});

test.serial(
  'a killed rank ends the other with an error; 1 and 4 ranks go on with the same losses',
  async (t) => {
    t.timeout(180_000);
    const config = await workplace(t);
    const whole = await config('whole');
    t.is((await cotsRanks(1, train(whole)))[0]?.code, 0);

    const killed = await config('killed');
    let isKilled = false;
    const [first, second] = await cotsRanks(2, train(killed), (rank, stderr, ranks) => {
      if (isKilled || rank !== 0 || !stderr.includes('checkpoint /')) return;
      isKilled = true;
      ranks[1]?.kill('SIGKILL');
    });
    t.is(second?.signal, 'SIGKILL');
    t.is(first?.code, 1);
    t.regex(
      first?.stderr ?? '',
      /cots: Expected all 2 ranks to take part until the end, rank 0 lost another/,
    );

    for (const world of [1, 4]) {
      const again = await config(`again${world}`);
      await cp(runOf(killed), runOf(again), { recursive: true, verbatimSymlinks: true });
      const outcomes = await cotsRanks(world, train(again, '--resume', 'latest'));
      t.true(
        outcomes.every(({ code }) => code === 0),
        outcomes[0]?.stderr,
      );
      sameRun(t, await rowsOf(again, 'metrics.jsonl'), await rowsOf(whole, 'metrics.jsonl'));
    }
  },
);

test.serial('an interrupt of one rank stops all after the same step, with a checkpoint', async (t) => {
  t.timeout(120_000);
  const config = await workplace(t);
  const file = await config('interrupted', { train: { steps: 100_000 } });
  let sent = false;
  const outcomes = await cotsRanks(2, train(file), (rank, stderr, ranks) => {
    if (sent || rank !== 0 || !stderr.includes('checkpoint /')) return;
    sent = true;
    ranks[1]?.kill('SIGINT');
  });
  t.deepEqual(
    outcomes.map(({ code }) => code),
    [0, 130],
    outcomes.map(({ stderr }) => stderr).join(''),
  );
  const { step } = await trainerJson(path.join(runOf(file), 'latest'));
  t.is(step, (await rowsOf(file, 'metrics.jsonl')).at(-1)?.['step']);
});

test('a batch smaller than the number of ranks is refused on all', async (t) => {
  const config = await workplace(t);
  for (const { code, stderr } of await cotsRanks(2, train(await config('refused'), 'train.batchSize=1'))) {
    t.is(code, 1);
    t.regex(stderr, /train\.batchSize.*at least the number of ranks \(2\), got 1/);
  }
});
