/** `cots import hf`: a model folder of a Hugging Face ViT and BERT. */
import type { Command } from 'commander';
import { type ImportOptions, importHuggingFace } from '../model/import-hugging-face.js';
import { addMissing, type CommonOptions, newCommand, newGroup, wholeNumber } from './command.js';
import { printResult } from './output.js';

interface Options extends CommonOptions {
  readonly image: string;
  readonly text: string;
  readonly out: string;
  readonly imageSize?: number;
  readonly textMaxLength?: number;
}

export function importCommand(): Command {
  const group = newGroup(
    'import',
    'bring a model in from another format',
    'cots import hf --image vit-base-patch16-384 --text bert-base-uncased --out models/base',
  );
  group.addCommand(
    newCommand(
      'hf',
      'make a model folder of a Hugging Face ViT and a BERT',
      'cots import hf --image vit-base-patch16-384 --text bert-base-uncased --out models/base',
    )
      .requiredOption(
        '--image <dir>',
        'ViT folder: config.json, model.safetensors, preprocessor_config.json (without one: mean and deviation 0.5, bilinear)',
      )
      .requiredOption(
        '--text <dir>',
        'BERT folder: config.json, model.safetensors, tokenizer.json or vocab.txt',
      )
      .requiredOption('--out <dir>', 'model folder to write')
      .option(
        '--image-size <pixels>',
        'side of the input; positions are interpolated where it differs from the file',
        wholeNumber(1, 4096),
      )
      .option(
        '--text-max-length <tokens>',
        'tokens of a text at most, [CLS] and [SEP] included (default: 40)',
        wholeNumber(3, 65_536),
      )
      .action(async ({ json, image, text, out, imageSize, textMaxLength }: Options) => {
        const request: ImportOptions = {
          image,
          text,
          out,
          ...(imageSize === undefined ? {} : { imageSize }),
          ...(textMaxLength === undefined ? {} : { textMaxLength }),
        };
        const { config, missing, unused } = await importHuggingFace(request);
        printResult(json === undefined ? {} : { json }, { out, config, missing, unused }, [
          `${out}: image tower ${config.image.layers} x ${config.image.width} at ${config.image.size} pixels, text tower ${config.text.layers} x ${config.text.width}`,
          `new: ${missing.length === 0 ? 'nothing' : missing.join(', ')}; left out: ${unused.length === 0 ? 'nothing' : unused.join(', ')}`,
        ]);
      }),
  );
  addMissing(group, ['clip']);
  return group;
}
