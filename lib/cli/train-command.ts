/** `cots train`: pre-training, or with `--dry-run` what it will cost. */
import type { Command } from 'commander';
import { loadConfig } from '../config/load.js';
import type { TrainConfig } from '../config/schema.js';
import type { Metrics } from '../train/metrics.js';
import { type TrainEvent, Trainer } from '../train/trainer.js';
import { type CommonOptions, collectOverride, newCommand } from './command.js';
import { resultTable } from './eval-command.js';
import { interruptSignal } from './interrupt.js';
import { note, printResult } from './output.js';
import { resumeCommand } from './resume-command.js';
import { startTrainDisplay } from './train-display.js';
import { dryRun } from './train-plan.js';

interface Options extends CommonOptions {
  readonly config: string;
  readonly resume?: string;
  readonly dryRun?: boolean;
}

export function trainCommand(): Command {
  return newCommand('train', 'pre-train a model', 'cots train --config configs/demo.yaml train.steps=200')
    .requiredOption('--config <file>', 'YAML config')
    .argument('[overrides...]', 'key.path=value; `cots config` lists the keys', collectOverride)
    .option(
      '--resume <latest|dir>',
      'go on from the newest whole checkpoint of train.out, or from a checkpoint folder',
    )
    .option(
      '--dry-run',
      'print parameters, steps, FLOPs a pair, peak memory, time of a step, the largest batch that fits and the losses, and stop',
    )
    .addHelpText(
      'after',
      '\nCtrl-C or SIGTERM: the step in progress ends, a checkpoint is written, and the command that goes on is printed; the exit code is 130 or 143. A second one stops at once.',
    )
    .addHelpText(
      'after',
      'Several processes train together under torchrun, srun or the Kubernetes training operator: docs/scaling.md.\n  $ torchrun --no-python --nproc-per-node 2 npx cots train --config configs/small.yaml',
    )
    .action(async (overrides: string[] | undefined, options: Options) => {
      if (options.dryRun === true)
        return dryRun(await loadConfig(options.config, overrides, 'plan'), options);
      return train(await loadConfig(options.config, overrides), options);
    });
}

async function train(config: TrainConfig, options: Options): Promise<void> {
  const trainer = await Trainer.create(
    config,
    options.resume === undefined ? {} : { resume: options.resume },
  );
  const isFirst = trainer.rank === 0;
  const display = isFirst ? startTrainDisplay(trainer) : undefined;
  const interrupt = interruptSignal(() =>
    display?.say(
      'interrupted: the step in progress ends and a checkpoint is written; once more to stop at once',
    ),
  );
  const seen: Seen = {};
  try {
    for await (const event of trainer.run({ signal: interrupt.signal })) {
      display?.show(event);
      if (event.type === 'step') seen.last = event;
      if (event.type === 'checkpoint') seen.checkpoint = event.path;
      if (event.type === 'evaluation') seen.result = event;
      if (event.type === 'end') seen.end = event;
    }
  } finally {
    display?.stop();
    interrupt.release();
    trainer.dispose();
  }

  if (seen.end?.reason === 'aborted') interrupt.endsProcess();
  if (isFirst) report(config, options, seen);
}

/** The last event of each kind. */
interface Seen {
  last?: Metrics;
  end?: Extract<TrainEvent, { type: 'end' }>;
  checkpoint?: string;
  result?: Extract<TrainEvent, { type: 'evaluation' }>;
}

function report(config: TrainConfig, options: Options, { last, end, checkpoint, result }: Seen): void {
  const resume = end?.reason === 'aborted' ? resumeCommand(process.argv.slice(2)) : null;
  const document = {
    out: config.train.out,
    step: end?.step,
    reason: end?.reason,
    checkpoint: checkpoint ?? null,
    resume,
    metrics: last ?? null,
    evaluation: withoutRanks(result),
  };
  if (resume !== null) note(`go on with: ${resume}`);
  printResult(options, document, [
    `${end?.reason} at step ${end?.step}${last === undefined ? '' : `, loss ${last.loss.toFixed(4)}`}, ${checkpoint ?? config.train.out}`,
    ...(result === undefined ? [] : resultTable(result.result)),
  ]);
}

function withoutRanks(event: Seen['result']): object | null {
  if (event === undefined) return null;
  const { ranks: _, ...figures } = event.result;
  return { step: event.step, ...figures };
}
