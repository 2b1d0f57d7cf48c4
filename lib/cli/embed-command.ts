/** `cots embed images|texts|videos`: vectors in clip-retrieval's layout. */
import { type Command, Option } from 'commander';
import type { Device, Precision } from '../device.js';
import { Cots } from '../model/cots.js';
import { type EmbedSummary, embedInto } from '../search/embed-input.js';
import { shareOf } from '../search/embed-share.js';
import type { VideoSampling } from '../search/embeddings.js';
import type { Modality } from '../search/partitions.js';
import { readInput } from '../search/read-input.js';
import { defaultFrames } from '../video/sample-frames.js';
import {
  type CommonOptions,
  datasetForms,
  newCommand,
  newGroup,
  positiveNumber,
  wholeNumber,
} from './command.js';
import { interruptSignal } from './interrupt.js';
import { counted, note, printResult, UsageError } from './output.js';
import { startProgress } from './progress.js';
import { addSourceOptions, type SourceOptions, sourceOf } from './source-options.js';

interface Options extends CommonOptions, SourceOptions {
  readonly model: string;
  readonly out: string;
  readonly batchSize?: number;
  readonly device: Device;
  readonly precision?: Precision;
  readonly threads?: number;
  readonly partitionRows?: number;
  readonly frames?: number;
  readonly fps?: number;
  readonly skipBlack?: boolean;
  readonly scaleOnLoad?: boolean;
}

/** Lines about what was left out; all of it is in errors.jsonl. */
const shownErrors = 20;

export function embedCommand(): Command {
  const group = newGroup(
    'embed',
    'turn images, texts or videos into vectors',
    'cots embed images photos/ --model runs/demo/run/latest --out runs/embeddings',
  );
  group.addCommand(
    oneEmbedCommand(
      'image',
      'images',
      `data set: ${datasetForms}; or a text file or standard input (-) with one path a line`,
    ).option(
      '--scale-on-load',
      'decode large JPEGs at 1/2, 1/4 or 1/8 where that leaves twice the pixels the model takes: faster, vectors differ a little',
    ),
  );
  group.addCommand(
    oneEmbedCommand(
      'text',
      'texts',
      `data set, one row a caption: ${datasetForms}; or a text file or standard input (-) with one text a line`,
    ),
  );
  group.addCommand(
    oneEmbedCommand(
      'video',
      'videos',
      `data set: ${datasetForms}; a folder of videos, one video, or a text file or standard input (-) with one path a line`,
    )
      .option(
        '--frames <number>',
        `frames of a video, one of each of as many equal parts (default: ${defaultFrames})`,
        wholeNumber(1, 100_000),
      )
      .option('--fps <number>', 'frames a second of a video, in place of --frames', positiveNumber)
      .option('--skip-black', 'take the nearest frame that is not black in place of a black one'),
  );
  return group;
}

function oneEmbedCommand(modality: Modality, name: string, input: string): Command {
  const command = newCommand(
    name,
    `embed ${name}`,
    `cots embed ${name} ${modality === 'video' ? 'clips/' : 'data/manifest.jsonl'} --model runs/demo/run/latest --out runs/embeddings`,
  )
    .argument('<input>', input)
    .requiredOption('--model <dir>', 'model folder')
    .requiredOption('--out <dir>', 'folder to write; a run that was stopped goes on there');
  return addSourceOptions(command)
    .option(
      '--batch-size <number>',
      modality === 'video' ? 'frames of one native call' : 'items of one native call',
      wholeNumber(1, 65_536),
    )
    .option('--device <device>', 'cpu, cuda or cuda:N', 'cpu')
    .addOption(
      new Option(
        '--precision <type>',
        'number type of the towers (default: float32 on a CPU, bfloat16 on CUDA)',
      ).choices(['float32', 'bfloat16', 'int8']),
    )
    .option('--threads <number>', 'threads of native work', wholeNumber(1, 1024))
    .option(
      '--partition-rows <number>',
      'rows of one file (default: 10,000, of videos 500); with RANK and WORLD_SIZE set, files are dealt out to the processes',
      wholeNumber(1, 10_000_000),
    )
    .action((given: string, options: Options) => embed(modality, given, options));
}

/** Part of what identifies the folder's rows, so that a run with other frames is not taken for the same. */
function samplingOf({ frames, fps, skipBlack = false }: Options): VideoSampling {
  if (frames !== undefined && fps !== undefined)
    throw new UsageError(
      `Expected either --frames or --fps, got both (${frames} and ${fps}). Leave one out.`,
    );
  return { ...(fps === undefined ? { frames: frames ?? defaultFrames } : { fps }), skipBlack };
}

async function embed(modality: Modality, input: string, options: Options): Promise<void> {
  const start = performance.now();
  const share = shareOf();
  const sampling = modality === 'video' ? samplingOf(options) : undefined;
  const entries = await readInput(input, modality, options.split ?? null, {
    ...sourceOf(options),
    warn: note,
  });
  const { device, precision, threads } = options;
  const model = await Cots.load(options.model, {
    device,
    ...(precision === undefined ? {} : { precision }),
    ...(threads === undefined ? {} : { threads }),
  });
  const interrupt = interruptSignal(() =>
    note('interrupted: finished partitions stay; run the same command to go on'),
  );
  const progress = startProgress({
    title: `embedding ${modality}s`,
    total: entries.length,
    unit: `${modality}s`,
  });
  let summary: EmbedSummary;
  try {
    summary = await embedInto(model, entries, {
      modality,
      out: options.out,
      modelPath: options.model,
      batchSize: options.batchSize,
      sampling,
      scaleOnLoad: options.scaleOnLoad,
      partitionRows: options.partitionRows,
      share,
      signal: interrupt.signal,
      onProgress: (done) => progress.update(done),
    });
  } finally {
    progress.stop();
    interrupt.release();
    model.dispose();
  }

  const seconds = (performance.now() - start) / 1000;
  for (const { id, message } of summary.errors.slice(0, shownErrors)) note(`left out: ${id}: ${message}`);
  if (summary.errors.length > shownErrors)
    note(`and ${summary.errors.length - shownErrors} more, which ${options.out} lists (errors.jsonl)`);
  printResult(options, { out: options.out, modality, input: entries.length, ...share, ...summary, seconds }, [
    `${options.out}: ${summary.rows} of ${counted(entries.length, modality)} as vectors of ${summary.dimension} numbers in ${counted(summary.partitions, 'partition')}, ${summary.embedded} of them new, ${(summary.embedded / seconds).toFixed(1)}/s`,
    ...(summary.complete
      ? []
      : [`rank ${share.rank} of ${share.world} is done; partitions of other ranks are missing yet`]),
  ]);
}
