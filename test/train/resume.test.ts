/** What may differ between a checkpoint and the run that goes on from it, and what `best` points to then. */
import { lstat, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { Trainer } from '../../lib/index.js';
import { type Config, fresh, lines, refusal, trained, trainerJson } from './runs.js';

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
