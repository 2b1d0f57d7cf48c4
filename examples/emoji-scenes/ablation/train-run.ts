/** One run of the ablation: training that goes on where it was killed, evaluation, and its result file. */
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { binding } from '../../../lib/binding.js';
import { startProgress } from '../../../lib/cli/progress.js';
import type { TrainConfig } from '../../../lib/config/schema.js';
import { openDataset } from '../../../lib/data/open.js';
import { CotsError } from '../../../lib/errors.js';
import { embedSplit } from '../../../lib/evaluate/embed-split.js';
import { evaluateRetrieval, type RetrievalResult } from '../../../lib/evaluate/retrieval.js';
import { Cots } from '../../../lib/model/cots.js';
import { kindOf, readJson } from '../../../lib/read-file.js';
import type { Metrics } from '../../../lib/train/metrics.js';
import { RunLock } from '../../../lib/train/run-lock.js';
import { Trainer } from '../../../lib/train/trainer.js';
import { writeFileAtomic } from '../../../lib/write-file.js';
import { type FilterReport, judgeFilter, readLastDecisions } from '../filter-truth.js';
import type { AblationRun } from './plan.js';

/** Recall in percent, and the sum of the six. */
export interface Recall {
  readonly imageToText: { readonly r1: number; readonly r5: number; readonly r10: number };
  readonly textToImage: { readonly r1: number; readonly r5: number; readonly r10: number };
  readonly rsum: number;
}

/** `result.json` of a run. */
export interface RunResult extends AblationRun {
  readonly steps: number;
  readonly test: Recall;
  /** The same scenes by the artist who is not in training. */
  readonly unseen: Recall;
  /** What the filter did in the last epoch; null where it is off. */
  readonly filter: FilterReport | null;
  /** Mean loss of the last 50 steps, its parts unweighted. */
  readonly losses: Readonly<Record<'total' | 'instance' | 'task' | 'cmvm' | 'cmlm', number>>;
  /** Of the steps alone, interruptions not counted. */
  readonly seconds: number;
  readonly peakBytes: number;
  /** libtorch's name for the processor's vectors: a run takes other seconds, and rounds otherwise, where it differs. */
  readonly capability: string;
}

const resultName = 'result.json';

/** The result of a run that is done; undefined while it is not. */
export async function readResult(folder: string): Promise<RunResult | undefined> {
  const file = path.join(folder, resultName);
  return (await kindOf(file)) === 'file' ? ((await readJson(file)) as RunResult) : undefined;
}

/**
 * Trains and evaluates; `stopped` when the signal ended it, after which the same call goes on; `busy`, with nothing done, while another
 * process has the run.
 */
export async function trainRun(
  run: AblationRun,
  config: TrainConfig,
  manifest: string,
  options: { title: string; signal: AbortSignal },
): Promise<RunResult | 'stopped' | 'busy'> {
  // The trainer's own lock ends before the evaluation does.
  const lock = await lockOf(path.join(config.train.out, 'ablation'));
  if (lock === undefined) return 'busy';
  try {
    return (await readResult(config.train.out)) ?? (await trainAndEvaluate(run, config, manifest, options));
  } finally {
    lock.release();
  }
}

/** Undefined while another process has it. */
async function lockOf(folder: string): Promise<RunLock | undefined> {
  try {
    return await RunLock.take(folder);
  } catch (error) {
    if (error instanceof CotsError && error.code === 'ERR_COTS_BUSY') return undefined;
    throw error;
  }
}

async function trainAndEvaluate(
  run: AblationRun,
  config: TrainConfig,
  manifest: string,
  options: { title: string; signal: AbortSignal },
): Promise<RunResult | 'stopped'> {
  const folder = config.train.out;
  if (!(await train(config, options))) return 'stopped';
  const result: RunResult = {
    ...run,
    ...(await trainingFigures(folder)),
    ...(await evaluate(path.join(folder, 'latest'), manifest)),
    filter: config.amf.enabled ? await filterReport(folder, manifest) : null,
    capability: binding().info().cpu.capability,
  };
  await writeFileAtomic(path.join(folder, resultName), `${JSON.stringify(result, null, 1)}\n`);
  // What only a run that goes on needs: 48 runs would fill gigabytes.
  for (const name of ['latest', 'checkpoints', 'resumed.json', 'scores.jsonl', 'filtered.jsonl'])
    await rm(path.join(folder, name), { recursive: true, force: true });
  return result;
}

/** Whether the last step was reached. */
async function train(
  config: TrainConfig,
  { title, signal }: { title: string; signal: AbortSignal },
): Promise<boolean> {
  const trainer = await Trainer.create(config, { resume: 'latest' });
  const progress = startProgress({ title, total: trainer.totalSteps, unit: 'steps', done: trainer.step });
  try {
    for await (const event of trainer.run({ signal })) {
      if (event.type === 'step') progress.update(event.step, `loss ${event.loss.toFixed(3)}`);
      if (event.type === 'warning' && event.code !== 'WARN_COTS_NO_CHECKPOINT') progress.say(event.message);
    }

    return trainer.step === trainer.totalSteps;
  } finally {
    progress.stop();
    trainer.dispose();
  }
}

async function trainingFigures(
  folder: string,
): Promise<Pick<RunResult, 'steps' | 'losses' | 'seconds' | 'peakBytes'>> {
  const text = await readFile(path.join(folder, 'metrics.jsonl'), 'utf8');
  const rows = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Metrics);
  const last = rows.slice(-50);
  const mean = (of: (row: Metrics) => number): number =>
    last.reduce((sum, row) => sum + of(row), 0) / last.length;
  return {
    steps: rows.length,
    losses: {
      total: mean(({ loss }) => loss),
      instance: mean((row) => row.loss_image_to_text + row.loss_text_to_image),
      task: mean((row) => row.loss_task),
      cmvm: mean((row) => row.loss_cmvm),
      cmlm: mean((row) => row.loss_cmlm),
    },
    seconds: rows.reduce((sum, row) => sum + row.pairs / row.pairs_per_second, 0),
    peakBytes: Math.max(...rows.map((row) => row.rss_bytes)),
  };
}

async function evaluate(folder: string, manifest: string): Promise<Pick<RunResult, 'test' | 'unseen'>> {
  const model = await Cots.load(folder);
  try {
    const recall = async (split: string): Promise<Recall> => {
      const { entries } = await openDataset(manifest, { split });
      return recallOf(await evaluateRetrieval({ ...(await embedSplit(model, entries)), protocol: 'plain' }));
    };
    return { test: await recall('test'), unseen: await recall('unseen') };
  } finally {
    model.dispose();
  }
}

function recallOf({ imageToText, textToImage, rsum }: RetrievalResult): Recall {
  const three = ({ r1, r5, r10 }: RetrievalResult['imageToText']) => ({ r1, r5, r10 });
  return { imageToText: three(imageToText), textToImage: three(textToImage), rsum };
}

async function filterReport(folder: string, manifest: string): Promise<FilterReport> {
  const { entries } = await openDataset(manifest, { split: 'train' });
  const mismatched = new Set(entries.filter((entry) => entry.mismatched === true).map(({ id }) => id));
  return judgeFilter((await readLastDecisions(path.join(folder, 'scores.jsonl'))).values(), mismatched);
}
