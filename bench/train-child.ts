/** Our side of compare-train in a process of its own, so that its peak memory is a whole process's: `node train-child.js FOLDER THREADS`. */
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import {
  binding,
  type NativeBatch,
  type NativeTokenizerConfig,
  type NativeTrainConfig,
  type NativeTrainer,
} from '../lib/binding.js';
import { batchOf } from './made-batch.js';

/** What FOLDER/settings.json has, for both sides. */
export interface StepSettings {
  readonly config: NativeTrainConfig;
  readonly tokenizer: NativeTokenizerConfig;
  readonly pairs: number;
  /** Times that the batch's keys are pushed before the first weights and queues are written for the other side. */
  readonly prefills: number;
}

export interface StepAnswer {
  readonly seconds: number;
  readonly losses: Readonly<Record<'loss' | 'contrast' | 'task' | 'cmvm' | 'cmlm', number>>;
  readonly peakBytes: number;
}

const [folder, threads] = process.argv.slice(2) as [string, string];
let trainer: NativeTrainer | undefined;
let batch: NativeBatch | undefined;

process.on('message', (request: 'load' | 'step') => {
  (request === 'load' ? load() : step()).then(
    (answer) => process.send?.(answer ?? {}),
    (error: Error) => process.send?.({ error: String(error.stack) }),
  );
});

async function load(): Promise<void> {
  const settings = JSON.parse(await readFile(path.join(folder, 'settings.json'), 'utf8')) as StepSettings;
  trainer = await binding().createTrainer({
    config: settings.config,
    tokenizer: { config: settings.tokenizer, file: path.join(folder, 'tokenizer.safetensors') },
    threads: Number(threads),
  });
  batch = await readBatch(settings.pairs);
  for (let count = 0; count < settings.prefills; count++) await trainer.prefill({ batch, cancel: null });
  await mkdir(path.join(folder, 'start'));
  await trainer.save({ directory: path.join(folder, 'start') });
}

async function readBatch(size: number): Promise<NativeBatch> {
  const bytes = async (name: string) => new Uint8Array(await readFile(path.join(folder, `${name}.bin`)));
  const integers = async (name: string) => new Int32Array((await bytes(name)).buffer);
  return batchOf(
    {
      images: await bytes('images'),
      tokenViews: await bytes('tokenViews'),
      ids: await integers('ids'),
      lengths: await integers('lengths'),
      imageMask: await bytes('imageMask'),
      maskedIds: await integers('maskedIds'),
      textMask: await bytes('textMask'),
    },
    size,
  );
}

async function step(): Promise<StepAnswer> {
  if (trainer === undefined || batch === undefined) throw new Error('load comes first');
  const start = performance.now();
  const m = await trainer.step({ batch, cancel: null });
  const seconds = (performance.now() - start) / 1000;
  return {
    seconds,
    losses: {
      loss: m.loss,
      contrast: m.lossImageToText + m.lossTextToImage,
      task: m.lossTask,
      cmvm: m.lossCmvm,
      cmlm: m.lossCmlm,
    },
    peakBytes: 1024 * process.resourceUsage().maxRSS,
  };
}
