#!/usr/bin/env node
/**
 * The ablation on emoji scenes: `node dist/examples/emoji-scenes/ablation/main.js`. A run that is done is never run again, one that was
 * stopped or killed goes on from its last checkpoint: start the same command again. Runs that the JSON already has, made elsewhere at the same
 * settings, count as done. Started again while it is at work, once its tokenizer is made, the command takes the runs that are still free: two
 * processes of one thread each get through more than one of two.
 */
import path from 'node:path';
import { Command } from 'commander';
import { collectOverride, wholeNumber } from '../../../lib/cli/command.js';
import { interruptSignal } from '../../../lib/cli/interrupt.js';
import { humanSeconds, note, reportFailure } from '../../../lib/cli/output.js';
import { startProgress } from '../../../lib/cli/progress.js';
import { kindOf } from '../../../lib/read-file.js';
import { trainImageTokenizer } from '../../../lib/train/tokenizer-trainer.js';
import { demoMakeUp } from '../demo-scenes.js';
import { generateScenes } from '../generate.js';
import { sceneDefaults } from '../options.js';
import {
  type AblationRun,
  claimFolder,
  Folders,
  isSameRun,
  noiseShares,
  plannedRuns,
  runConfig,
} from './plan.js';
import { printTable, type ReportOptions, reportedRuns, writeReport } from './report.js';
import { type RunResult, readResult, trainRun } from './train-run.js';

/** Pixels of a scene: those of configs/demo.yaml. */
const side = 64;

function readOptions(): ReportOptions {
  const command = new Command('ablation')
    .description(
      'Trains every config of configs/ablation on clean captions and on 30 % mismatched ones, a few seeds each with equal steps, and writes one JSON and one figure.',
    )
    .option('--out <folder>', 'folder of the runs; the same command goes on in it', 'runs/ablation')
    .option('--seeds <n>', 'runs of each setting', wholeNumber(1, 1000), 3)
    .option('--scenes <n>', 'training scenes', wholeNumber(1), sceneDefaults.count)
    .option(
      '--json <file>',
      'result, whose runs at the same settings count as done (default: OUT/ablation.json)',
    )
    .option('--figure <file>', 'PNG (default: OUT/ablation.png); an SVG is written beside it')
    .option('--verbose', 'show stack traces of failures')
    .argument('[overrides...]', 'key.path=value on every run', collectOverride, [])
    .addHelpText(
      'after',
      '\nExample:\n  $ node dist/examples/emoji-scenes/ablation/main.js --json bench/results/ablation.json --figure docs/ablation.png',
    )
    .exitOverride();
  command.parse();
  return { ...command.opts<Omit<ReportOptions, 'overrides'>>(), overrides: command.processedArgs[0] };
}

async function main(): Promise<void> {
  const options = readOptions();
  const { overrides } = options;
  const folders = new Folders(options.out);
  const settingsHash = await claimFolder(folders, options.scenes, overrides);
  const reported = await reportedRuns(options, settingsHash);
  const interrupt = interruptSignal(() =>
    note('stopping: the step in progress ends and a checkpoint is written; the same command goes on'),
  );
  const runs = plannedRuns(options.seeds);
  await makeScenes(folders, options.scenes, interrupt.signal);
  await makeTokenizer(runs[0] as AblationRun, folders, overrides, interrupt.signal);
  const resultOf = async (run: AblationRun): Promise<RunResult | undefined> =>
    (await readResult(folders.run(run))) ?? reported.find((other) => isSameRun(run, other));
  const allResults = async (): Promise<RunResult[]> =>
    (await Promise.all(runs.map(resultOf))).filter((result) => result !== undefined);
  const report = async (results: readonly RunResult[]): Promise<void> =>
    writeReport(results, options, await runConfig(runs[0] as AblationRun, folders, overrides), settingsHash);
  for (const [index, run] of runs.entries()) {
    if ((await resultOf(run)) !== undefined) continue;
    const title = `run ${index + 1} of ${runs.length}, ${run.variant}, ${Math.round(100 * run.noise)} %, seed ${run.seed}`;
    const config = await runConfig(run, folders, overrides);
    const ended = await trainRun(run, config, folders.manifest(run.noise), {
      title,
      signal: interrupt.signal,
    });
    if (ended === 'stopped') return interrupt.endsProcess();
    if (ended === 'busy') continue;
    const results = await allResults();
    note(`${title}: RSum ${ended.test.rsum.toFixed(1)}, ${timeLeft(results, runs.length)} of training left`);
    await report(results);
  }

  const results = await allResults();
  if (results.length > 0) await report(results);
  if (results.length < runs.length)
    note(
      `${runs.length - results.length} runs are at work in another process of this command, which reports them`,
    );
  printTable(results);
}

/** Both shares of noise have the same images: only the captions are swapped. */
async function makeScenes(folders: Folders, count: number, signal: AbortSignal): Promise<void> {
  for (const noise of noiseShares) {
    if ((await kindOf(folders.manifest(noise))) === 'file') continue;
    let progress: ReturnType<typeof startProgress> | undefined;
    const out = folders.scenes(noise);
    await generateScenes({
      ...demoMakeUp,
      out,
      count,
      size: side,
      seed: 0,
      mismatched: noise,
      signal,
      onProgress: ({ done, total }) => {
        progress ??= startProgress({ title: path.basename(out), total, unit: 'images' });
        progress.update(done);
      },
    }).finally(() => progress?.stop());
  }
}

async function makeTokenizer(
  run: AblationRun,
  folders: Folders,
  overrides: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  if ((await kindOf(folders.tokenizer)) === 'directory') return;
  const config = await runConfig(run, folders, overrides);
  let progress: ReturnType<typeof startProgress> | undefined;
  const onStart = (total: number): void => {
    progress = startProgress({ title: 'image tokenizer', total, unit: 'steps' });
  };
  // No signal: a tokenizer that was stopped early would be taken for a whole one.
  for await (const event of trainImageTokenizer(config, { onStart }))
    if (event.type === 'step') progress?.update(event.step, `loss ${event.loss.toFixed(4)}`);
  progress?.stop();
  signal.throwIfAborted();
}

function timeLeft(results: readonly RunResult[], runs: number): string {
  const mean = results.reduce((sum, { seconds }) => sum + seconds, 0) / results.length;
  return humanSeconds(mean * (runs - results.length));
}

main().catch((error: unknown) => {
  process.exitCode = reportFailure(error, process.argv.includes('--verbose'));
});
