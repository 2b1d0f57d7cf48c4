/** `cots eval`: retrieval figures of a model on a data set. */
import { type Command, Option } from 'commander';
import { openDataset } from '../data/open.js';
import { CheckpointError } from '../errors.js';
import { checkSplit, embedSplit, type MediaKind, mediaOf } from '../evaluate/embed-split.js';
import { type Protocol, protocolNames, textsAnImage } from '../evaluate/protocols.js';
import { evaluateRetrieval, type RetrievalResult } from '../evaluate/retrieval.js';
import { Cots } from '../model/cots.js';
import { hashModel } from '../model/model-folder.js';
import { type CommonOptions, datasetForms, newCommand, wholeNumber } from './command.js';
import { note, printResult, table, UsageError } from './output.js';
import { startProgress } from './progress.js';
import { addSourceOptions, type SourceOptions, sourceOf } from './source-options.js';

interface Options extends CommonOptions, SourceOptions {
  readonly model: string;
  readonly data: string;
  readonly protocol: Protocol;
  readonly frames?: number;
  readonly threads?: number;
}

export function evalCommand(): Command {
  const command = newCommand(
    'eval',
    'measure retrieval: images or videos by texts, and texts by them',
    'cots eval --model runs/demo/run/latest --data data/manifest.jsonl --split test',
  )
    .requiredOption('--model <dir>', 'model folder')
    .requiredOption('--data <file>', datasetForms);
  return addSourceOptions(command)
    .addOption(new Option('--protocol <name>', 'sizes and folds').choices(protocolNames).default('plain'))
    .option('--frames <number>', 'frames of a video (default: 12)', wholeNumber(1, 100_000))
    .option('--threads <number>', 'threads of native work', wholeNumber(1, 1024))
    .action(async (options: Options) => {
      const start = performance.now();
      const captionsPerImage = textsAnImage(options.protocol);
      const { entries, warnings } = await openDataset(options.data, {
        ...sourceOf(options),
        requireCaptions: true,
      });
      for (const warning of warnings) note(warning);
      checkSplit(entries, options.protocol);
      const { kind } = mediaOf(entries);
      if (kind === 'image' && options.frames !== undefined)
        throw new UsageError(
          `Expected --frames only with videos, got ${options.frames} with ${options.data}, which holds images. Leave it out.`,
        );
      const model = await Cots.load(
        options.model,
        options.threads === undefined ? {} : { threads: options.threads },
      );
      checkWidths(model, options.model);
      const embedded = await embedWithProgress(model, entries, {
        captionsPerImage,
        frames: options.frames,
      }).finally(() => model.dispose());
      const result = await evaluateRetrieval({ ...embedded, protocol: options.protocol });
      const document = {
        ...result,
        model: { path: options.model, hash: await hashModel(options.model) },
        data: { path: options.data, split: options.split ?? null, kind, warnings },
        seconds: (performance.now() - start) / 1000,
      };
      printResult(options, document, resultTable(result, kind));
    });
}

/** Towers of two widths give vectors that cannot be compared. */
function checkWidths(model: Cots, directory: string): void {
  const { image, text, embedDim } = model.config;
  if (embedDim > 0 || image.width === text.width) return;
  model.dispose();
  throw new CheckpointError(
    `Expected a model whose images and texts can be compared, got ${directory} with towers of ${image.width} and ${text.width} numbers and no projection. Train a projection, or embed each modality by itself.`,
  );
}

async function embedWithProgress(
  model: Cots,
  entries: Parameters<typeof embedSplit>[1],
  { captionsPerImage, frames }: { captionsPerImage: number; frames: number | undefined },
): ReturnType<typeof embedSplit> {
  const total = entries.reduce(
    (sum, { captions }) => sum + 1 + Math.min(captions.length, captionsPerImage),
    0,
  );
  const progress = startProgress({ title: 'embedding', total, unit: 'items' });
  try {
    return await embedSplit(model, entries, {
      captionsPerImage,
      ...(frames === undefined ? {} : { frames }),
      onProgress: (done) => progress.update(done),
    });
  } finally {
    progress.stop();
  }
}

/** The figures as a table: recalls both ways beside chance. */
export function resultTable(result: RetrievalResult, kind: MediaKind = 'image'): string[] {
  const { imageToText, textToImage, chance, ties, n, rsum, protocol } = result;
  const row = (
    name: string,
    own: RetrievalResult['imageToText'],
    luck: RetrievalResult['chance']['imageToText'],
    tied: number,
  ): string[] => [
    name,
    ...[own.r1, own.r5, own.r10].map((value) => value.toFixed(2)),
    ...[luck.r1, luck.r5, luck.r10].map((value) => value.toFixed(2)),
    String(own.medianRank),
    own.meanRank.toFixed(1),
    String(tied),
  ];
  return [
    `${n.images} ${kind}s x ${n.texts} texts, protocol ${protocol}, RSum ${rsum.toFixed(2)}, percent`,
    ...table(
      ['', 'R@1', 'R@5', 'R@10', 'chance@1', '@5', '@10', 'MedR', 'MnR', 'ties'],
      [
        row(`${kind} to text`, imageToText, chance.imageToText, ties.imageToText),
        row(`text to ${kind}`, textToImage, chance.textToImage, ties.textToImage),
      ],
    ),
  ];
}
