/** `cots search`: the best rows of an index for a text, an image file or a video file. */
import type { Command } from 'commander';
import { isVideoFile } from '../data/readers/folder.js';
import { DataError } from '../errors.js';
import { Cots } from '../model/cots.js';
import { kindOf } from '../read-file.js';
import { loadIndex } from '../search/index-folder.js';
import { modelOfIndex, type Query, type SearchHit, search } from '../search/search.js';
import { type CommonOptions, newCommand, wholeNumber } from './command.js';
import { printResult, table } from './output.js';

interface Options extends CommonOptions {
  readonly model?: string;
  readonly k: number;
  readonly moments?: boolean;
  readonly threads?: number;
}

export function searchCommand(): Command {
  return newCommand(
    'search',
    'find the images, videos or texts nearest to a query',
    "cots search runs/index 'a red bus' -k 5",
  )
    .argument('<index>', 'index folder, or a folder of embeddings')
    .argument('<query>', 'a text; the path of an image or video file makes it a query by that')
    .option(
      '--model <dir>',
      'model folder; it must be the one that made the vectors (default: the path in the manifest)',
    )
    .option('-k <number>', 'rows to show', wholeNumber(1), 10)
    .option('--moments', 'of videos: the time of the frame nearest to the query, and its score')
    .option('--threads <number>', 'threads of native work', wholeNumber(1, 1024))
    .action(async (directory: string, text: string, options: Options) => {
      const index = await loadIndex(directory);
      const modelDirectory = await modelOfIndex(index, options.model);
      const query = await queryOf(text);
      const model = await Cots.load(
        modelDirectory,
        options.threads === undefined ? {} : { threads: options.threads },
      );
      const hits = await search(model, index, query, {
        k: options.k,
        moments: options.moments === true,
      }).finally(() => {
        model.dispose();
        index.vectors.dispose();
      });
      const document = {
        query,
        index: directory,
        modality: index.modality,
        model: { ...index.model, path: modelDirectory },
        k: options.k,
        results: hits,
      };
      printResult(options, document, lines(hits, options.moments === true));
    });
}

/** A path of no file is no text: a ranking of it would only look like an answer. */
async function queryOf(text: string): Promise<Query> {
  const kind = await kindOf(text);
  if (kind === 'file') return isVideoFile(text) ? { video: text } : { image: text };
  const looksLikePath =
    /^\S+\.(?:jpe?g|png|webp|gif|tiff?|avif)$/i.test(text) || (/^\S+$/.test(text) && isVideoFile(text));
  if (kind === undefined && !looksLikePath) return { text };
  throw new DataError(
    `Expected the query to be a text or the path of an image or video file, got ${text}, ${kind === undefined ? 'which is no file' : 'a folder'}. Check the path.`,
  );
}

function lines(hits: readonly SearchHit[], moments: boolean): string[] {
  if (hits.length === 0) return ['nothing: the index is empty'];
  const rows = hits.map(({ rank, score, id, image, video, caption, moment }) => [
    String(rank),
    score.toFixed(4),
    ...(moments ? [moment === undefined ? '' : clock(moment.seconds), moment?.score.toFixed(4) ?? ''] : []),
    video ?? (image === '' ? id : image),
    caption,
  ]);
  const [header, ...rest] = table(
    ['', 'cosine', ...(moments ? ['moment', 'cosine'] : []), 'what', 'caption'],
    rows,
  );
  return [header as string, ...rest];
}

/** `1:02:03.4`, `2:03.4`. */
function clock(seconds: number): string {
  const tenths = Math.round(10 * Math.max(0, seconds));
  const [h, m, s] = [
    Math.floor(tenths / 36_000),
    Math.floor(tenths / 600) % 60,
    ((tenths % 600) / 10).toFixed(1),
  ];
  return `${h > 0 ? `${h}:${String(m).padStart(2, '0')}` : m}:${s.padStart(4, '0')}`;
}
