/** Whole runs of a tiny model, for the tests of this folder. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import type { NativeTrainer } from '../../lib/binding.js';
import { CotsError, type TrainEvent, Trainer } from '../../lib/index.js';
import { prepareRun } from '../../lib/train/prepare-run.js';
import { makeShapes, temporaryFolder, tinyConfig } from '../support/tiny.js';

export type Config = ReturnType<typeof tinyConfig>;

/** The events of a run that is aborted after step `until`. */
export async function run(trainer: Trainer, until = Infinity): Promise<TrainEvent[]> {
  const events: TrainEvent[] = [];
  const controller = new AbortController();
  for await (const event of trainer.run({ signal: controller.signal })) {
    events.push(event);
    if (event.type === 'step' && event.step >= until) controller.abort();
  }

  return events;
}

/** The events of a run from creation to disposal. */
export async function trained(
  config: Config,
  options: { resume?: string; until?: number } = {},
): Promise<TrainEvent[]> {
  const trainer = await Trainer.create(
    config,
    options.resume === undefined ? {} : { resume: options.resume },
  );
  try {
    return await run(trainer, options.until);
  } finally {
    trainer.dispose();
  }
}

/** A trainer whose native one has some calls replaced: for faults that a tiny model does not have by itself. */
export async function trainerOver(
  t: ExecutionContext,
  config: Config,
  replace: (native: NativeTrainer) => Partial<NativeTrainer>,
): Promise<Trainer> {
  const prepared = await prepareRun(config, undefined);
  const replaced = replace(prepared.native);
  const native = new Proxy(prepared.native, {
    get: (target, name: keyof NativeTrainer) => replaced[name] ?? target[name].bind(target),
  });
  const trainer = new Trainer({ ...prepared, native });
  t.teardown(() => trainer.dispose());
  return trainer;
}

/** A folder with a manifest of shapes and the config of a run in it. */
export async function fresh(
  t: ExecutionContext,
  over: Parameters<typeof tinyConfig>[2] = {},
  count = 40,
): Promise<{ folder: string; out: string; config: Config }> {
  const folder = await temporaryFolder(t);
  const manifest = await makeShapes(folder, count);
  const out = path.join(folder, 'run');
  return { folder, out, config: tinyConfig(manifest, out, over) };
}

/** Asserts that `work` rejects with that code and message. */
export async function refusal(
  t: ExecutionContext,
  work: () => Promise<unknown>,
  code: string,
  message: RegExp,
): Promise<void> {
  const error = await t.throwsAsync(work, { instanceOf: CotsError, message });
  t.is((error as CotsError).code as string, code);
}

export const hash = async (file: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(file))
    .digest('hex');

export const lines = async (file: string): Promise<Record<string, unknown>[]> =>
  (await readFile(file, 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

const timed = ['pairs_per_second', 'mfu', 'rss_bytes'];

/** The lines of metrics.jsonl without what a clock or the process says. */
export const untimed = (rows: Record<string, unknown>[]): string[] =>
  rows.map((row) => JSON.stringify(row, (key, value: unknown) => (timed.includes(key) ? undefined : value)));

/** trainer.json of a checkpoint folder. */
export const trainerJson = async (checkpoint: string): Promise<Record<string, unknown>> =>
  JSON.parse(await readFile(path.join(checkpoint, 'trainer.json'), 'utf8')) as Record<string, unknown>;
