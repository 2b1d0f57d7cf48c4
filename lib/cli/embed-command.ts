/** `cots embed images|texts`: vectors in clip-retrieval's layout. */
import { type Command, Option } from 'commander';
import type { Precision } from '../device.js';
import { Cots } from '../model/cots.js';
import { type EmbedSummary, embedInto, readInput } from '../search/embed-input.js';
import type { Modality } from '../search/partitions.js';
import {
  addMissing,
  type CommonOptions,
  datasetForms,
  interruptSignal,
  newCommand,
  newGroup,
  wholeNumber,
} from './command.js';
import { counted, note, printResult } from './output.js';
import { startProgress } from './progress.js';

interface Options extends CommonOptions {
  readonly model: string;
  readonly out: string;
  readonly split?: string;
  readonly batchSize?: number;
  readonly precision: Precision;
  readonly threads?: number;
}

export function embedCommand(): Command {
  const group = newGroup(
    'embed',
    'turn images or texts into vectors',
    'cots embed images photos/ --model runs/demo/run/latest --out runs/embeddings',
  );
  group.addCommand(oneEmbedCommand('image', 'images', `data set: ${datasetForms}`));
  group.addCommand(
    oneEmbedCommand(
      'text',
      'texts',
      `data set, one row a caption: ${datasetForms}; or a text file with one text a line`,
    ),
  );
  addMissing(group, ['videos']);
  return group;
}

function oneEmbedCommand(modality: Modality, name: string, input: string): Command {
  return newCommand(
    name,
    `embed ${name}`,
    `cots embed ${name} data/manifest.jsonl --model runs/demo/run/latest --out runs/embeddings`,
  )
    .argument('<input>', input)
    .requiredOption('--model <dir>', 'model folder')
    .requiredOption('--out <dir>', 'folder to write; a run that was stopped goes on there')
    .option('--split <name>', 'split of a data set to take (default: all entries)')
    .option('--batch-size <number>', 'items of one native call', wholeNumber(1, 65_536))
    .addOption(
      new Option('--precision <type>', 'number type of the towers')
        .choices(['float32', 'bfloat16', 'int8'])
        .default('float32'),
    )
    .option('--threads <number>', 'threads of native work', wholeNumber(1, 1024))
    .action((given: string, options: Options) => embed(modality, given, options));
}

async function embed(modality: Modality, input: string, options: Options): Promise<void> {
  const start = performance.now();
  const entries = await readInput(input, modality, options.split ?? null);
  const { precision, threads } = options;
  const model = await Cots.load(options.model, { precision, ...(threads === undefined ? {} : { threads }) });
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
      signal: interrupt.signal,
      onProgress: (done) => progress.update(done),
    });
  } finally {
    progress.stop();
    interrupt.release();
    model.dispose();
  }

  const seconds = (performance.now() - start) / 1000;
  for (const { id, message } of summary.errors) note(`left out: ${id}: ${message}`);
  printResult(options, { out: options.out, modality, input: entries.length, ...summary, seconds }, [
    `${options.out}: ${summary.rows} of ${counted(entries.length, modality)} as vectors of ${summary.dimension} numbers in ${counted(summary.partitions, 'partition')}, ${summary.embedded} of them new, ${(summary.embedded / seconds).toFixed(1)}/s`,
  ]);
}
