/** From a whole Hugging Face CLIP to a model folder that embeds, is evaluated and searches; it cannot be trained (SPEC 6.1). */
import path from 'node:path';
import * as check from '../checks.js';
import { TextTokenizer } from '../data/text/tokenizer.js';
import { CheckpointError } from '../errors.js';
import { callSite, fromSite } from '../native-call.js';
import { modelFiles } from './config-file.js';
import { readImageRules } from './image-rules.js';
import { completeConfig, readClipFamily } from './import-families.js';
import {
  captionsAsTheyAre,
  type ImportResult,
  refuseForeignModel,
  textLength,
  writeImported,
} from './import-hugging-face.js';
import { checkVocabulary } from './vocabulary-check.js';
import { findWeights } from './weight-files.js';

export interface ImportClipOptions {
  /** Folder of a CLIPModel: config.json, safetensors weights, tokenizer.json or vocab.json with merges.txt, preprocessor_config.json. */
  readonly model: string;
  /** Model folder to write. */
  readonly out: string;
  /** Tokens of a text at most, its two ends included. @default all positions, 77 */
  readonly textMaxLength?: number;
}

/** Rejects as `importHuggingFace` does. */
export async function importClip(options: ImportClipOptions): Promise<ImportResult> {
  const site = callSite(importClip);
  return fromSite(site, async () => {
    check.options('importClip', options, ['model', 'out', 'textMaxLength']);
    const folder = check.text('model', options.model);
    const out = check.text('out', options.out);
    await refuseForeignModel(out);
    const { files } = await findWeights(folder);
    const { image, text, embedDim, eos } = await readClipFamily(folder);
    const config = completeConfig({ image, text, embedDim }, [folder]);
    const tokenizer = await TextTokenizer.load(folder);
    checkVocabulary(tokenizer, config.text.vocabSize, folder);
    checkEnd(tokenizer, eos ?? tokenizer.vocabSize - 1, folder);
    return writeImported(out, {
      description: {
        config,
        image: await readImageRules(path.join(folder, modelFiles.preprocessor), image.size, 'clip'),
        text: {
          ...captionsAsTheyAre,
          maxLength: textLength(options.textMaxLength, config, config.text.maxPositions),
        },
      },
      tokenizer,
      sources: [{ family: 'clip', files }],
    });
  });
}

/** The state of a text is that of its last token, which must be the one that the model looks for. */
function checkEnd(tokenizer: TextTokenizer, eos: number, folder: string): void {
  if (tokenizer.special.sep === eos) return;
  throw new CheckpointError(
    `Expected the tokenizer in ${folder} to end a text with the id ${eos} of "eos_token_id" in its config.json, got ${tokenizer.special.sep}. Put the tokenizer that belongs to the model there.`,
  );
}
