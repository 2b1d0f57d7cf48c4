/** `cots export hf`: folders that transformers loads. */
import type { Command } from 'commander';
import { exportHuggingFace } from '../model/export-hugging-face.js';
import { type CommonOptions, newCommand, newGroup } from './command.js';
import { printResult } from './output.js';

interface Options extends CommonOptions {
  readonly out: string;
}

const example = 'cots export hf runs/demo/run/latest --out models/for-transformers';

export function exportCommand(): Command {
  const group = newGroup('export', 'take a model out to another format', example);
  group.addCommand(
    newCommand(
      'hf',
      'write folders that transformers loads: the towers, and the whole where it fits a VisionTextDualEncoderModel or CLIPModel',
      example,
    )
      .argument('<dir>', 'model folder')
      .requiredOption('--out <dir>', 'folder to write: image/, text/, and the whole beside them')
      .action(async (model: string, options: Options) => {
        const { models, apart } = await exportHuggingFace({ model, out: options.out });
        printResult(options, { out: options.out, models, apart }, [
          ...models.map(({ folder, architecture }) => `${architecture}.from_pretrained('${folder}')`),
          ...(apart === null ? [] : [`no VisionTextDualEncoderModel: ${apart}`]),
        ]);
      }),
  );
  return group;
}
