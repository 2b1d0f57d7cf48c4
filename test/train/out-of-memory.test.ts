/** A step that runs out of memory: the steps before are saved, and the error says what to lower. */
import { readlink } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { CotsError } from '../../lib/index.js';
import { fresh, run, trained, trainerOver } from './runs.js';

/** Native steps that fail like the allocator's from number `failing` on. */
const outOfMemoryAt = (failing: number) => (native: { step: (...o: never[]) => Promise<unknown> }) => {
  let step = 0;
  return {
    step: (...o: never[]) =>
      ++step < failing
        ? native.step.apply(native, o)
        : Promise.reject(new CotsError('ERR_COTS_MEMORY', "DefaultCPUAllocator: can't allocate memory")),
  };
};

test('training out of memory leaves a checkpoint of the step before and says what to lower', async (t) => {
  const { out, config } = await fresh(t);
  const trainer = await trainerOver(t, config, outOfMemoryAt(3) as never);
  const error = (await t.throwsAsync(run(trainer), { code: 'ERR_COTS_MEMORY' })) as CotsError;
  t.regex(error.message, /on 'cpu' for a step of 8 pairs in 1 micro-batch at \d+ pixels, ran out of it/);
  t.regex(error.message, /with \d+\.\d GiB in use/);
  t.regex(error.message, /Step 2 is saved in .*step-00000002/);
  t.regex(error.message, /train\.checkpointing=full, which changes no number/);
  t.regex(error.message, /train\.accumulate=2, or lower train\.batchSize.*train\.init/);
  t.regex((error.cause as Error).message, /can't allocate/);
  t.is(path.basename(await readlink(path.join(out, 'latest'))), 'step-00000002');
  trainer.dispose();

  const frugal = { ...config, train: { ...config.train, checkpointing: 'full' as const } };
  const events = await trained(frugal, { resume: 'latest', until: 3 });
  t.true(events.some((event) => event.type === 'step' && event.step === 3));
});

test('with nothing learned no checkpoint is written, and a batch of one pair a micro-batch has other advice', async (t) => {
  const { config } = await fresh(t);
  const cut = { ...config, train: { ...config.train, accumulate: 8, checkpointing: 'full' as const } };
  const trainer = await trainerOver(t, cut, outOfMemoryAt(1) as never);
  const error = await t.throwsAsync(run(trainer), { code: 'ERR_COTS_MEMORY' });
  t.regex(error?.message ?? '', /in 8 micro-batches.*No step was done yet\. Lower train\.batchSize/);
});

test('a checkpoint that cannot be written either is told', async (t) => {
  const { config } = await fresh(t);
  const trainer = await trainerOver(
    t,
    config,
    (native) =>
      ({
        ...outOfMemoryAt(2)(native as never),
        capture: () => Promise.reject(new CotsError('ERR_COTS_MEMORY', 'no room for a copy')),
      }) as never,
  );
  const error = await t.throwsAsync(run(trainer), { code: 'ERR_COTS_MEMORY' });
  t.regex(error?.message ?? '', /A checkpoint of step 1 could not be written: no room for a copy/);
});
