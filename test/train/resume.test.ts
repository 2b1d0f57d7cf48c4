/** What may differ between a checkpoint and the run that goes on from it, and what `best` points to then. */
import { appendFile, cp, lstat, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { Trainer } from '../../lib/index.js';
import { StepLog } from '../../lib/train/step-log.js';
import { makeShapes, temporaryFolder } from '../support/tiny.js';
import { type Config, fresh, lines, refusal, run, trained, trainerJson } from './runs.js';

const edits: Record<string, (entry: Record<string, unknown>) => void> = {
  'the text of a caption': (entry) => {
    entry['captions'] = ['a red box', 'another text'];
  },
  'a weight': (entry) => {
    entry['weight'] = 3;
  },
};

for (const [name, edit] of Object.entries(edits)) {
  test(`a manifest that differs in ${name} is refused under a checkpoint`, async (t) => {
    const { folder, config } = await fresh(t);
    await trained(config, { until: 5 });
    const manifest = path.join(folder, 'manifest.jsonl');
    const entries = await lines(manifest);
    edit(entries[7] as Record<string, unknown>);
    await writeFile(manifest, entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
    await refusal(
      t,
      () => Trainer.create(config, { resume: 'latest' }),
      'ERR_COTS_CHECKPOINT',
      /captions and weights/,
    );
  });
}

test('another weight of a source is refused under a checkpoint', async (t) => {
  const { folder, config } = await fresh(t);
  await trained(config, { until: 5 });
  const source = { path: path.join(folder, 'manifest.jsonl'), weight: 2 };
  const weighted = { ...config, data: { ...config.data, train: [source] } };
  await refusal(
    t,
    () => Trainer.create(weighted, { resume: 'latest' }),
    'ERR_COTS_CHECKPOINT',
    /captions and weights/,
  );
});

test('a run can be made longer, with a warning that the schedule is another one', async (t) => {
  const { out, config } = await fresh(t);
  await trained(config);
  const longer = { ...config, train: { ...config.train, steps: 16 } };
  const events = await trained(longer, { resume: 'latest' });
  t.like(events[0], {
    type: 'warning',
    code: 'WARN_COTS_SCHEDULE',
    message:
      'The run has 16 steps now, 12 when the checkpoint of step 12 was written: from step 13 on the learning rate follows the cosine of 16 steps.',
  });
  t.deepEqual(events.at(-1), { type: 'end', step: 16, reason: 'done' });
  const rates = (await lines(path.join(out, 'metrics.jsonl'))).map(({ lr }) => lr as number);
  t.true((rates[12] as number) > (rates[11] as number));
});

test('epochs that make as many steps as before are no other schedule', async (t) => {
  const { config } = await fresh(t);
  await trained(config, { until: 5 });
  const same = { ...config, train: { ...config.train, steps: null, epochs: (12 * 8) / 40 } };
  const events = await trained(same, { resume: 'latest', until: 6 });
  t.is(events.filter(({ type }) => type === 'warning').length, 0);
});

/** Goes on from step 5 of a run that had its best at step 10, the checkpoint of step 5 saying `best`. */
async function goBack(
  config: Config,
  out: string,
  best: { step: number; rsum: number } | null,
): Promise<void> {
  await trained(config, { until: 10 });
  await rm(path.join(out, 'best'), { force: true });
  await symlink('checkpoints/step-00000010', path.join(out, 'best'));
  const checkpoint = path.join(out, 'checkpoints', 'step-00000005');
  const file = path.join(checkpoint, 'trainer.json');
  await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), best }));
  await trained(config, { resume: checkpoint, until: 6 });
}

test('`best` goes when its checkpoint is of a step that the run went back from', async (t) => {
  const { out, config } = await fresh(t);
  await goBack(config, out, null);
  await t.throwsAsync(lstat(path.join(out, 'best')), { code: 'ENOENT' });
});

test('`best` points back to the best of the checkpoint that the run goes on from', async (t) => {
  const { out, config } = await fresh(t);
  await goBack(config, out, { step: 5, rsum: 100 });
  t.is(await readlink(path.join(out, 'best')), 'checkpoints/step-00000005');
});

test('a best whose checkpoint is gone is forgotten', async (t) => {
  const { out, config } = await fresh(t);
  await goBack(config, out, { step: 3, rsum: 100 });
  t.is((await trainerJson(path.join(out, 'latest')))['best'], null);
  await t.throwsAsync(lstat(path.join(out, 'best')), { code: 'ENOENT' });
});

test('a best that was measured on other pairs or by another protocol is forgotten, with a warning', async (t) => {
  const { folder, out, config } = await fresh(t, { evaluate: { everySteps: 6 } });
  const validated = async (name: string) => ({
    ...config,
    data: { ...config.data, validation: [{ path: await makeShapes(folder, 9, 'val', name) }] },
  });
  const first = await validated('one.jsonl');
  await trained(first, { until: 7 });
  const checkpoint = path.join(out, 'checkpoints', 'step-00000006');
  const best = { ...((await trainerJson(checkpoint))['best'] as object), rsum: 1000 };
  for (const name of await readdir(path.join(out, 'checkpoints'))) {
    const file = path.join(out, 'checkpoints', name, 'trainer.json');
    await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), best }));
  }

  const seldom = { ...first, evaluate: { ...first.evaluate, everySteps: 7 } };
  const same = await Trainer.create(seldom, { resume: 'latest' });
  t.deepEqual(
    (await run(same, 8)).filter(({ type }) => type === 'warning'),
    [],
  );
  same.dispose();
  const other = await validated('two.jsonl');
  await writeFile(
    path.join(folder, 'two.jsonl'),
    (await lines(path.join(folder, 'two.jsonl')))
      .slice(1)
      .map((row) => `${JSON.stringify(row)}\n`)
      .join(''),
  );
  const events = await trained(other, { resume: 'latest' });
  t.like(events[0], { type: 'warning', code: 'WARN_COTS_BEST' });
  t.is(await readlink(path.join(out, 'best')), 'checkpoints/step-00000012');
});

test("a checkpoint of another run is not gone on from in a run's own folder, in a new one it is", async (t) => {
  const { folder, out, config } = await fresh(t);
  await trained(config, { until: 10 });
  const into = (name: string) => ({ ...config, train: { ...config.train, out: path.join(folder, name) } });
  await trained(into('other'), { until: 5 });
  const foreign = path.join(folder, 'other', 'checkpoints', 'step-00000005');
  const before = await readdir(path.join(out, 'checkpoints'));
  await refusal(
    t,
    () => Trainer.create(config, { resume: foreign }),
    'ERR_COTS_CONFIG',
    /the folder of the run that .*step-00000005 is of.*another run's checkpoint at step 10/,
  );
  t.deepEqual(await readdir(path.join(out, 'checkpoints')), before);
  t.is((await lines(path.join(out, 'metrics.jsonl'))).length, 10);
  t.is((await trained(into('branch'), { resume: foreign, until: 6 })).at(-1)?.type, 'end');
});

test('after a run went back, latest is a checkpoint of its new way', async (t) => {
  const { out, config } = await fresh(t);
  await trained(config); // checkpoints of steps 5, 10 and 12
  const trainer = await Trainer.create(config, { resume: path.join(out, 'checkpoints', 'step-00000005') });
  const events = trainer.run()[Symbol.asyncIterator]();
  await events.next(); // at work again, and killed before a checkpoint: the later ones are still there
  t.true((await readdir(path.join(out, 'checkpoints'))).includes('step-00000012'));
  const again = await Trainer.create(config, { resume: 'latest' }).catch((error: unknown) => error);
  t.like(again, { code: 'ERR_COTS_BUSY' });
  await cp(out, `${out}-killed`, { recursive: true });
  await events.return?.();
  trainer.dispose();
  const killed = { ...config, train: { ...config.train, out: `${out}-killed` } };
  await rm(path.join(`${out}-killed`, 'run.lock'), { force: true });
  const resumed = await Trainer.create(killed, { resume: 'latest' });
  t.is(resumed.step, 5);
  resumed.dispose();
  await rm(path.join(`${out}-killed`, 'checkpoints', 'step-00000005'), { recursive: true });
  await refusal(
    t,
    () => Trainer.create(killed, { resume: 'latest' }),
    'ERR_COTS_CHECKPOINT',
    /at most step 5 .*found 2 of later steps.*--resume/,
  );
});

test('a log that is cut at a step keeps whole lines, of any length, and goes on there', async (t) => {
  const folder = await temporaryFolder(t);
  const file = path.join(folder, 'log.jsonl');
  const log = new StepLog(file);
  await log.openAt(0);
  const row = (step: number) => ({ step, text: 'é'.repeat(400_000) }); // lines longer than what is read at a time
  for (const step of [1, 2, 2, 3]) await log.append([row(step), { step, short: true }]);
  await log.close();
  await appendFile(file, '{"step":3,"torn":');
  await log.openAt(2);
  await log.append([{ step: 9 }]);
  await log.close();
  t.deepEqual(
    (await lines(file)).map(({ step }) => step),
    [1, 1, 2, 2, 2, 2, 9],
  );
  await log.openAt(0);
  await log.close();
  t.is(await readFile(file, 'utf8'), '');
});
