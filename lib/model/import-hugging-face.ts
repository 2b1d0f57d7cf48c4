/** From a Hugging Face ViT, DeiT or BEiT folder and a BERT folder, or one of them, to a model folder (SPEC 6.1 to 6.3). Without a projection to load, the embedding is the normalized pooled state. */
import path from 'node:path';
import { binding } from '../binding.js';
import * as check from '../checks.js';
import { nativeModelConfig } from '../config/native.js';
import type { ModelConfig } from '../config/schema.js';
import type { CaptionRules } from '../data/text/captions.js';
import { TextTokenizer } from '../data/text/tokenizer.js';
import { OptionError } from '../errors.js';
import { callSite, fromSite } from '../native-call.js';
import { refuseForeign } from '../write-file.js';
import { type ModelDescription, modelFiles } from './config-file.js';
import { type ImageRules, readImageRules, rulesAt } from './image-rules.js';
import { completeConfig, type FoundImage, readImageFamily, readTextFamily } from './import-families.js';
import { writeModelFolder } from './model-folder.js';
import { checkVocabulary } from './vocabulary-check.js';
import { findWeights } from './weight-files.js';

export interface ImportOptions {
  /** Folder of a ViT, DeiT or BEiT: config.json, safetensors weights, preprocessor_config.json. Without it the model embeds texts alone. */
  readonly image?: string;
  /** Folder of a BERT: config.json, safetensors weights, tokenizer.json or vocab.txt. Without it the model embeds images alone. */
  readonly text?: string;
  /** Model folder to write. */
  readonly out: string;
  /** Image side in pixels; positions are interpolated where it differs. @default the image tower's own */
  readonly imageSize?: number;
  /** Tokens of a text at most, [CLS] and [SEP] included. @default 40 */
  readonly textMaxLength?: number;
}

export interface ImportResult {
  readonly config: ModelConfig;
  /** Parameters that the files do not have and that are new: the mask token, which only training uses. */
  readonly missing: string[];
  /** Tensors of the files that the model does not have, such as the pooler. */
  readonly unused: string[];
}

const defaultTextLength = 40;
const optionNames = ['image', 'text', 'out', 'imageSize', 'textMaxLength'];

/** Rejects `ERR_COTS_CHECKPOINT` for another architecture, a pickled file, or tensors that are missing, too many, of another shape or no numbers; nothing is written then. */
export async function importHuggingFace(options: ImportOptions): Promise<ImportResult> {
  const site = callSite(importHuggingFace);
  return fromSite(site, async () => {
    check.options('importHuggingFace', options, optionNames);
    if (options.image === undefined && options.text === undefined)
      throw new OptionError(
        'Expected `image`, `text` or both, got neither. Name the folder of a ViT or a BERT.',
      );
    const out = check.text('out', options.out);
    await refuseForeignModel(out);
    const image =
      options.image === undefined
        ? null
        : await imageTower(check.text('image', options.image), options.imageSize);
    const text = options.text === undefined ? null : await textTower(check.text('text', options.text));
    const config = completeConfig(
      {
        ...(image === null ? {} : { image: { ...image.found.sizes, size: image.size } }),
        ...(text === null ? {} : { text: text.found.sizes }),
        towers: image === null ? 'text' : text === null ? 'image' : 'both',
        embedDim: 0,
      },
      [image, text].flatMap((tower) => (tower === null ? [] : [tower.folder])),
    );
    if (text !== null) checkVocabulary(text.tokenizer, config.text.vocabSize, text.folder);
    return writeImported(out, {
      description: {
        config,
        image: image?.rules ?? noImages,
        text: {
          ...captionsAsTheyAre,
          maxLength: textLength(options.textMaxLength, config, defaultTextLength),
        },
      },
      tokenizer: text?.tokenizer ?? null,
      sources: [image, text].flatMap((tower) =>
        tower === null ? [] : [{ family: tower.found.family, files: tower.weights.files }],
      ),
    });
  });
}

/** A model as it is read from other folders. */
export interface Imported {
  readonly description: ModelDescription;
  readonly tokenizer: TextTokenizer | null;
  readonly sources: Parameters<ReturnType<typeof binding>['importHuggingFace']>[0]['sources'];
}

/** Converts the weights and writes the model folder, whole or not at all. */
export async function writeImported(
  out: string,
  { description, tokenizer, sources }: Imported,
): Promise<ImportResult> {
  let report = { missing: [] as string[], unused: [] as string[] };
  await writeModelFolder(out, description, tokenizer, async (file) => {
    const config = nativeModelConfig(description.config);
    report = await binding().importHuggingFace({ config, sources, out: file });
  });
  return { config: description.config, ...report };
}

/** An imported model cleans nothing: its texts are those it was trained with. */
export const captionsAsTheyAre = { clean: 'none', maxWords: 0 } as const satisfies Partial<CaptionRules>;

/** Rules of a model that takes no images. */
const noImages: ImageRules = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], filter: 'bicubic', resize: null };

/** The limit asked for, or `usual` as far as the positions reach. */
export function textLength(asked: number | undefined, { text }: ModelConfig, usual: number): number {
  return check.integer('textMaxLength', asked ?? Math.min(usual, text.maxPositions), 3, text.maxPositions);
}

/** Throws `ERR_COTS_DATA` for a folder of other things. */
export async function refuseForeignModel(out: string): Promise<void> {
  await refuseForeign(out, 'a model', modelFiles.weights, ['trainer.json', 'state.safetensors']);
}

async function imageTower(folder: string, asked: number | undefined) {
  const weights = await findWeights(folder);
  const found: FoundImage = await readImageFamily(folder, weights);
  const own = found.sizes.size;
  const size = check.integer('imageSize', asked ?? own, 1, 4096);
  const rules = await readImageRules(path.join(folder, modelFiles.preprocessor), own, found.processor);
  return { folder, weights, found, size, rules: rulesAt(rules, own, size) };
}

async function textTower(folder: string) {
  const weights = await findWeights(folder);
  return {
    folder,
    weights,
    found: await readTextFamily(folder),
    tokenizer: await TextTokenizer.load(folder),
  };
}
