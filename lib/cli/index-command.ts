/** `cots index`: a search index of a folder of embeddings. */
import type { Command } from 'commander';
import { Option } from 'commander';
import { buildIndex } from '../search/index-folder.js';
import type { Modality } from '../search/partitions.js';
import { type CommonOptions, newCommand } from './command.js';
import { printResult } from './output.js';

interface Options extends CommonOptions {
  readonly out: string;
  readonly modality?: Modality;
  readonly dtype: 'float32' | 'float16';
}

export function indexCommand(): Command {
  return newCommand(
    'index',
    'make a search index of a folder of embeddings',
    'cots index runs/embeddings --out runs/index',
  )
    .argument('<embeddings>', 'folder that `cots embed` wrote')
    .requiredOption('--out <dir>', 'index folder to write')
    .addOption(
      new Option('--modality <name>', 'vectors to index: images where there are some, else texts').choices([
        'image',
        'text',
        'video',
      ]),
    )
    .addOption(
      new Option('--dtype <type>', 'numbers of the index; float16 halves its size and the time of a search')
        .choices(['float32', 'float16'])
        .default('float32'),
    )
    .action(async (embeddings: string, options: Options) => {
      const { out, modality: wanted, dtype } = options;
      const manifest = await buildIndex(embeddings, out, { modality: wanted, dtype });
      const { rows, dimension, modality, model, frames } = manifest;
      printResult(options, { out: options.out, ...manifest }, [
        `${options.out}: ${rows} ${modality} vectors of ${dimension} numbers${frames === undefined ? '' : ` with ${frames} frames`}, model ${model.path}`,
      ]);
    });
}
