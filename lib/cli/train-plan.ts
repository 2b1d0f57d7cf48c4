/** `cots train --dry-run`: what a run will cost, before it starts. */
import { probeStep } from '../bench/step-probe.js';
import type { NativeTokenizerConfig } from '../binding.js';
import { checkDevice, requireCpu } from '../config/load.js';
import { nativeTokenizerConfig } from '../config/native.js';
import { planTraining, type TrainPlan } from '../config/plan.js';
import type { TrainConfig } from '../config/schema.js';
import { epochLength } from '../data/sampler.js';
import { openSources } from '../data/training-set.js';
import { usableMemory } from '../device.js';
import { checkSplit } from '../evaluate/embed-split.js';
import { kindOf } from '../read-file.js';
import { readTokenizerFolder } from '../train/tokenizer-folder.js';
import {
  type CommonOptions,
  humanBytes,
  humanNumber,
  humanSeconds,
  note,
  printResult,
  table,
} from './output.js';

/** The image tokenizer's sizes; undefined, with a note, while it is still to be trained: the plan then takes the `tokenizer` keys. */
async function plannedTokenizer(folder: string): Promise<NativeTokenizerConfig | undefined> {
  if ((await kindOf(folder)) === 'directory') return (await readTokenizerFolder(folder)).config;
  note(
    `no image tokenizer at ${folder} yet: planned with the \`tokenizer\` keys; train it with \`cots train-tokenizer\``,
  );
  return undefined;
}

export async function dryRun(config: TrainConfig, options: CommonOptions): Promise<void> {
  requireCpu(config, 'a plan of memory and time');
  checkDevice(config); // steps are timed here
  const set = config.data.train.length === 0 ? undefined : await openSources(config.data.train, 'train');
  const { entries: validation, warnings } = await openSources(config.data.validation, 'validation');
  if (validation.length > 0) checkSplit(validation, config.evaluate.protocol);
  const { tokenizer } = config.token;
  const imageTokenizer =
    tokenizer === null || config.loss.weights.cmvm === 0 ? undefined : await plannedTokenizer(tokenizer);
  note('timing steps of one and two blocks on this machine');
  const plan = planTraining(config, {
    pairs: set === undefined ? undefined : epochLength(set.entries.length, set.weights),
    imageTokenizer,
    frames: set?.hasClips === true ? config.train.frames : 1,
    memoryBytes: usableMemory(),
    probe: await probeStep(config, imageTokenizer ?? nativeTokenizerConfig(config)),
  });
  for (const warning of [...(set?.warnings ?? []), ...warnings, ...plan.warnings])
    note(`warning: ${warning}`);
  printResult(options, { ...plan, config }, planLines(plan, config));
}

function planLines(plan: TrainPlan, { train }: TrainConfig): string[] {
  const { parameters, steps, epochs, pairs, flopsPerPair, memoryBytes, seconds, losses, filter } = plan;
  const on = Object.entries(losses).map(([name, value]) => `${name} ${value ? 'on' : 'off'}`);
  const rows = (title: string, values: object, shown: (value: number) => string): string[][] =>
    Object.entries(values).map(([name, value]) => [`${title} ${name}`, shown(Number(value))]);
  const unknown = (value: number | null): string =>
    value === null ? 'not known without data.train' : humanNumber(value);
  return [
    ...table(
      ['', ''],
      [
        ['steps', unknown(steps)],
        ['epochs', unknown(epochs)],
        ['pairs an epoch', unknown(pairs)],
        ...rows('parameters', parameters, humanNumber),
        ...rows('GFLOP a pair', flopsPerPair, (value) => (value / 1e9).toPrecision(4)),
        ...rows('memory', memoryBytes, humanBytes),
        ...rows('seconds a step', seconds ?? {}, (value) => value.toPrecision(3)),
      ],
    ).slice(1),
    ...timeLines(plan, train.batchSize),
    ...fitLines(plan, train),
    `losses: ${on.join(', ')}`,
    filter.enabled
      ? `filter: k ${filter.k}, tells noise apart up to ${(100 * filter.largestNoise).toFixed(0)} % of the pairs, from step ${filter.firstStep}`
      : 'filter: off',
  ];
}

function timeLines({ seconds, steps }: TrainPlan, batchSize: number): string[] {
  if (seconds === null) return [];
  const whole = steps === null ? '' : `, ${humanSeconds(steps * seconds.total)} in all`;
  return [
    `time: about ${(batchSize / seconds.total).toPrecision(3)} pairs/s, by steps of fewer blocks and pairs on this machine just now${whole}`,
  ];
}

function fitLines({ fit }: TrainPlan, train: TrainConfig['train']): string[] {
  if (fit === null) return [];
  const { batchSize, accumulate, checkpointing } = train;
  const full =
    checkpointing === 'full' ? '' : ` (${humanNumber(fit.largestBatchFull)} with train.checkpointing=full)`;
  const ways = [
    ...(fit.checkpointing === null || fit.checkpointing === checkpointing
      ? []
      : [`train.checkpointing=${fit.checkpointing}`]),
    ...(fit.accumulate === null || fit.accumulate === accumulate
      ? []
      : [`train.accumulate=${fit.accumulate} or more`]),
  ];
  const fitting =
    ways.length === 0 ? '' : `; train.batchSize=${batchSize} fits with ${ways.join(', or with ')}`;
  return [
    `fits: train.batchSize up to ${humanNumber(fit.largestBatch)}${full} with train.accumulate=${accumulate} in ${humanBytes(fit.limitBytes)}, nine tenths of this machine's memory${fitting}`,
  ];
}
