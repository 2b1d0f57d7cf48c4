/** The two towers of a model as its calls use them: inputs made ready, native work that an abort or a disposal ends. */

import * as check from '../checks.js';
import type { ModelConfig } from '../config/schema.js';
import { cleanCaption } from '../data/text/clean.js';
import type { TextTokenizer } from '../data/text/tokenizer.js';
import { usableCores } from '../device.js';
import { OptionError } from '../errors.js';
import type { PendingCalls } from '../native-call.js';
import { checkSampling } from '../video/sample-frames.js';
import type { AttentionMap, checkAttentionOptions } from './attention.js';
import type { CotsParts, VideoOptions } from './cots-options.js';
import type { ClipModel, ClipOptions } from './embed-clips.js';
import { type ImageInput, imageView, imageViews } from './image-input.js';

/** Throws `ERR_COTS_OPTION` for a model without that tower. */
export function requireTower({ towers }: Pick<ModelConfig, 'towers'>, side: 'image' | 'text'): void {
  if (towers === 'both' || towers === side) return;
  throw new OptionError(
    `Expected a model with ${side === 'image' ? 'an image' : 'a text'} tower, got one of ${towers}s alone. Import it with both towers, or use another model.`,
  );
}

/** Legend: n items, D embedding. */
export class Towers {
  readonly #parts: CotsParts;
  readonly #calls: PendingCalls;

  constructor(parts: CotsParts, calls: PendingCalls) {
    this.#parts = parts;
    this.#calls = calls;
  }

  /** Width of an embedding. */
  dimension(side: 'image' | 'text'): number {
    const { config } = this.#parts.description;
    return config.embedDim === 0 ? config[side].width : config.embedDim;
  }

  /** uint8 [size, size, 3] of an image. */
  async view(image: ImageInput, scaleOnLoad = false): Promise<Uint8Array> {
    const { config, image: rules } = this.#parts.description;
    this.#require('image');
    return imageView(image, config.image.size, rules, scaleOnLoad);
  }

  /** uint8 [n, size, size, 3]; failures count images from `first`. */
  async views(images: readonly ImageInput[], first: number, scaleOnLoad: boolean): Promise<Uint8Array> {
    const { config, image: rules } = this.#parts.description;
    this.#require('image');
    return imageViews(images, first, config.image.size, rules, scaleOnLoad);
  }

  /** Unit rows [count, D] of uint8 [count, size, size, 3]. */
  embedPixels(pixels: Uint8Array, count: number, signal: AbortSignal | undefined): Promise<Float32Array> {
    const { mean, std } = this.#parts.description.image;
    return this.#calls.run(signal, async (cancel) =>
      (await this.#parts.native).embedImages({ pixels, count, mean, std, cancel }),
    );
  }

  /** Unit rows [n, D]. */
  async embedWords(texts: readonly string[], signal: AbortSignal | undefined): Promise<Float32Array> {
    this.#require('text');
    const { description, tokenizer } = this.#parts;
    const { clean, maxWords, maxLength } = description.text;
    const { ids, lengths } = (tokenizer as TextTokenizer).encodeBatch(
      texts.map((text) => cleanCaption(text, clean, maxWords)),
      maxLength,
    );
    return this.#calls.run(signal, async (cancel) =>
      (await this.#parts.native).embedTexts({ ids, lengths, cancel }),
    );
  }

  /** Where an image answers a text; the options are complete. */
  async attention(
    image: ImageInput,
    text: string,
    { method, startLayer, signal }: ReturnType<typeof checkAttentionOptions>,
  ): Promise<AttentionMap> {
    const { config, image: rules } = this.#parts.description;
    const { mean, std } = rules;
    const pixels = await this.view(image);
    const row = await this.embedWords([text], signal);
    const found = await this.#calls.run(signal, async (cancel) =>
      (await this.#parts.native).attentionMap({
        pixels,
        count: 1,
        mean,
        std,
        text: row,
        method,
        startLayer,
        cancel,
      }),
    );
    const side = config.image.size / config.image.patch;
    return { ...found, grid: [side, side] };
  }

  #require(side: 'image' | 'text'): void {
    requireTower(this.#parts.description.config, side);
  }

  /** Settles as `work` does, or rejects at once on abort and disposal. */
  orStopped<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    return this.#calls.run(signal, work);
  }

  /** How videos are embedded; `count` of them, as far as is known. */
  clips(
    options: VideoOptions | undefined,
    batchSize: number,
    signal: AbortSignal | undefined,
    count: number,
  ): { readonly model: ClipModel; readonly options: ClipOptions } {
    const decoders = Math.max(1, Math.min(usableCores(), count));
    return {
      model: {
        dimension: this.dimension('image'),
        view: (frame) => this.view(frame),
        embedPixels: (pixels, frames) => this.embedPixels(pixels, frames, signal),
        orStopped: (work) => this.orStopped(signal, work),
      },
      options: {
        sampling: checkSampling(options ?? {}),
        skipBlack: check.boolean('skipBlack', options?.skipBlack ?? false),
        batchSize,
        decoders,
        threads: Math.max(1, Math.floor(usableCores() / decoders)),
        signal,
      },
    };
  }
}
