/** `cots search`: the best rows of an index for a text or an image file. */
import type { Command } from 'commander';
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
  readonly threads?: number;
}

export function searchCommand(): Command {
  return newCommand(
    'search',
    'find the images or texts nearest to a query',
    "cots search runs/index 'a red bus' -k 5",
  )
    .argument('<index>', 'index folder, or a folder of embeddings')
    .argument('<query>', 'a text; the path of an image file makes it an image query')
    .option(
      '--model <dir>',
      'model folder; it must be the one that made the vectors (default: the path in the manifest)',
    )
    .option('-k <number>', 'rows to show', wholeNumber(1), 10)
    .option('--threads <number>', 'threads of native work', wholeNumber(1, 1024))
    .action(async (directory: string, text: string, options: Options) => {
      const index = await loadIndex(directory);
      const modelDirectory = await modelOfIndex(index, options.model);
      const query = await queryOf(text);
      const model = await Cots.load(
        modelDirectory,
        options.threads === undefined ? {} : { threads: options.threads },
      );
      const hits = await search(model, index, query, options.k).finally(() => model.dispose());
      const document = {
        query,
        index: directory,
        modality: index.modality,
        model: { ...index.model, path: modelDirectory },
        k: options.k,
        results: hits,
      };
      printResult(options, document, lines(hits));
    });
}

/** A path of no file is no text: a ranking of it would only look like an answer. */
async function queryOf(text: string): Promise<Query> {
  const kind = await kindOf(text);
  if (kind === 'file') return { image: text };
  if (kind === undefined && !/^\S+\.(?:jpe?g|png|webp|gif|tiff?|avif)$/i.test(text)) return { text };
  throw new DataError(
    `Expected the query to be a text or the path of an image file, got ${text}, ${kind === undefined ? 'which is no file' : 'a folder'}. Check the path.`,
  );
}

function lines(hits: readonly SearchHit[]): string[] {
  if (hits.length === 0) return ['nothing: the index is empty'];
  const rows = hits.map(({ rank, score, id, image, caption }) => [
    String(rank),
    score.toFixed(4),
    image === '' ? id : image,
    caption,
  ]);
  const [header, ...rest] = table(['', 'cosine', 'what', 'caption'], rows);
  return [header as string, ...rest];
}
