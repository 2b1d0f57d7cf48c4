/** checkpoint.keepEveryHours, by a clock that stands still between two steps. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { mock } from 'node:test';
import test from 'ava';
import { Trainer } from '../../lib/index.js';
import { fresh } from './runs.js';

const minute = 60_000;

/** The steps whose checkpoints are left of a run with one each 50 minutes: at 0:50, 1:40, ... of the clock. */
async function keptSteps(t: Parameters<typeof fresh>[0], keepEveryHours: number): Promise<number[]> {
  const { out, config } = await fresh(t);
  const checkpoint = { ...config.checkpoint, everySteps: 1, keep: 1, keepEveryHours, async: false };
  const trainer = await Trainer.create({ ...config, checkpoint, train: { ...config.train, steps: 8 } });
  mock.timers.enable({ apis: ['Date'], now: 50 * minute });
  try {
    for await (const event of trainer.run()) if (event.type === 'checkpoint') mock.timers.tick(50 * minute);
  } finally {
    mock.timers.reset();
    trainer.dispose();
  }

  const names = await readdir(path.join(out, 'checkpoints'));
  return names.map((name) => Number(/\d+$/.exec(name)?.[0])).sort((a, b) => a - b);
}

test.serial('the first checkpoint of every two hours stays, and the newest', async (t) => {
  // 0:50 of 0:00 to 2:00, 2:30, 4:10, and 6:40 at the end.
  t.deepEqual(await keptSteps(t, 2), [1, 3, 5, 8]);
});

test.serial('a fraction of an hour counts too, and 0 keeps none besides the newest', async (t) => {
  t.deepEqual(await keptSteps(t, 1.5), [1, 2, 4, 6, 8]);
  t.deepEqual(await keptSteps(t, 0), [8]);
});
