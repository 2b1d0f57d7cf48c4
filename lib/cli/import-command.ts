/** `cots import hf|clip`: a model folder of checkpoints that transformers wrote. */
import type { Command } from 'commander';
import { importClip } from '../model/import-clip.js';
import { type ImportOptions, type ImportResult, importHuggingFace } from '../model/import-hugging-face.js';
import { type CommonOptions, newCommand, newGroup, wholeNumber } from './command.js';
import { printResult } from './output.js';

interface Options extends CommonOptions {
  readonly out: string;
  readonly textMaxLength?: number;
}

interface TowerOptions extends Options {
  readonly image?: string;
  readonly text?: string;
  readonly imageSize?: number;
}

const example = 'cots import hf --image vit-base-patch16-384 --text bert-base-uncased --out models/base';

export function importCommand(): Command {
  const group = newGroup('import', 'bring a model in from another format', example);
  group.addCommand(towersCommand());
  group.addCommand(clipCommand());
  return group;
}

function towersCommand(): Command {
  return newCommand(
    'hf',
    'make a model folder of a Hugging Face ViT, DeiT or BEiT and a BERT, or of one alone',
    example,
  )
    .option(
      '--image <dir>',
      'ViT, DeiT or BEiT folder: config.json, model.safetensors or its shards, preprocessor_config.json; without it the model embeds texts alone',
    )
    .option(
      '--text <dir>',
      'BERT folder: config.json, model.safetensors or its shards, tokenizer.json or vocab.txt; without it the model embeds images alone',
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
    .action(async ({ json, verbose: _, ...options }: TowerOptions) => {
      report(json, options.out, await importHuggingFace(options as ImportOptions));
    });
}

function clipCommand(): Command {
  return newCommand(
    'clip',
    'make a model folder of a whole Hugging Face CLIP, for embedding, evaluation and search',
    'cots import clip clip-vit-base-patch16 --out models/clip',
  )
    .argument(
      '<dir>',
      'CLIP folder: config.json, model.safetensors or its shards, tokenizer.json or vocab.json with merges.txt, preprocessor_config.json',
    )
    .requiredOption('--out <dir>', 'model folder to write')
    .option(
      '--text-max-length <tokens>',
      'tokens of a text at most, its two ends included (default: all positions)',
      wholeNumber(3, 65_536),
    )
    .action(async (model: string, { json, verbose: _, ...options }: Options) => {
      report(json, options.out, await importClip({ model, ...options }));
    });
}

function report(json: boolean | undefined, out: string, { config, missing, unused }: ImportResult): void {
  const { image, text, towers, embedDim } = config;
  const parts = [
    ...(towers === 'text' ? [] : [`image tower ${image.layers} x ${image.width} at ${image.size} pixels`]),
    ...(towers === 'image' ? [] : [`text tower ${text.layers} x ${text.width}`]),
    ...(embedDim === 0 ? [] : [`projections to ${embedDim}`]),
  ];
  const listed = (names: readonly string[]): string => (names.length === 0 ? 'nothing' : names.join(', '));
  printResult(json === undefined ? {} : { json }, { out, config, missing, unused }, [
    `${out}: ${parts.join(', ')}`,
    `new: ${listed(missing)}; left out: ${listed(unused)}`,
    ...(embedDim === 0 && towers === 'both'
      ? [
          'no projection to one space: images are compared with images and texts with texts until it is trained',
        ]
      : []),
  ]);
}
