/** Evaluations during a run: their sizes, their failures, their abort. */
import { readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type TrainEvent, Trainer } from '../../lib/index.js';
import { makeShapes } from '../support/tiny.js';
import { type Config, fresh, refusal, trained, trainerOver } from './runs.js';

/** A run that evaluates every 4 steps on 12 images of 2 captions and writes no checkpoint of itself. */
async function evaluated(t: ExecutionContext): Promise<{ folder: string; out: string; config: Config }> {
  const { folder, out, config } = await fresh(t, {
    evaluate: { everySteps: 4 },
    checkpoint: { everySteps: 0, keep: 1 },
  });
  const validation = await makeShapes(folder, 12, 'val', 'val.jsonl');
  return { folder, out, config: { ...config, data: { ...config.data, validation } } };
}

test('an evaluation that fails loses no step', async (t) => {
  const { folder, out, config } = await evaluated(t);
  const image = path.join(folder, 'images', 'val-3.png');
  const whole = await readFile(image);
  await writeFile(image, 'no image');
  await refusal(t, () => trained(config), 'ERR_COTS_IMAGE', /val-3\.png/);
  t.is(await readlink(path.join(out, 'latest')), 'checkpoints/step-00000004');

  await writeFile(image, whole);
  const events = await trained(config, { resume: 'latest' });
  t.like(events[0], { type: 'step', step: 5 });
  t.deepEqual(events.at(-1), { type: 'end', step: 12, reason: 'done' });
});

test('a validation set that the protocol does not take is refused before the first step', async (t) => {
  const { out, config } = await evaluated(t);
  await refusal(
    t,
    () => Trainer.create({ ...config, evaluate: { protocol: 'flickr30k-1k' } }),
    'ERR_COTS_DATA',
    /1000 images x 5 texts for protocol 'flickr30k-1k', got 12 images/,
  );
  await t.throwsAsync(readdir(out), { code: 'ENOENT' });
});

test('an abort during an evaluation drops it and ends the run', async (t) => {
  const { out, config } = await evaluated(t);
  const controller = new AbortController();
  const trainer = await trainerOver(t, config, (native) => ({
    snapshot: (o) => {
      controller.abort();
      return native.snapshot(o);
    },
  }));
  const events: TrainEvent[] = [];
  for await (const event of trainer.run({ signal: controller.signal })) events.push(event);
  t.deepEqual(
    events.map(({ type }) => type),
    ['step', 'step', 'step', 'step', 'checkpoint', 'end'],
  );
  t.deepEqual(events.at(-1), { type: 'end', step: 4, reason: 'aborted' });
  t.is(await readlink(path.join(out, 'latest')), 'checkpoints/step-00000004');
});
