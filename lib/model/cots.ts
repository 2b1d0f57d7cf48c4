/** The public model: load, embed, save. Legend: n items, D embedding, B batch. */
import type { Matrix } from '../binding.js';
import * as check from '../checks.js';
import type { ModelConfig, ModelConfigInput } from '../config/schema.js';
import type { Precision } from '../device.js';
import { OptionError } from '../errors.js';
import { callSite, fromSite, PendingCalls } from '../native-call.js';
import { type AttentionMap, type AttentionOptions, checkAttentionOptions } from './attention.js';
import type {
  CotsParts,
  CreateOptions,
  EmbedOptions,
  ImageOptions,
  LoadOptions,
  VideoEmbeddings,
  VideoOptions,
} from './cots-options.js';
import { type EmbeddedClip, embedClips } from './embed-clips.js';
import { embedStream, stackClips } from './embed-stream.js';
import type { EmbeddedBatch, Item } from './embedded-batch.js';
import type { ImageInput } from './image-input.js';
import { writeModelFolder } from './model-folder.js';
import { createParts, loadParts } from './model-parts.js';
import { Towers } from './towers.js';

const defaultImageBatch = 32;
const defaultTextBatch = 256;

/**
 * A two-stream vision-language model. Calls queue, never reject for being busy; `dispose()` frees the weights.
 * @example
 * const model = await Cots.load('runs/demo/latest');
 * const { data, shape } = await model.embedTexts(['a red bus']);
 */
export class Cots {
  /** Sizes of the network. */
  readonly config: ModelConfig;
  /** Number type of the towers. */
  readonly precision: Precision;
  readonly #parts: CotsParts;
  readonly #calls = new PendingCalls('Cots model');
  readonly #towers: Towers;

  /** Use `Cots.load` or `Cots.create`. @internal */
  constructor(parts: CotsParts) {
    this.#parts = parts;
    this.config = parts.description.config;
    this.precision = parts.precision;
    this.#towers = new Towers(parts, this.#calls);
    parts.native.catch(() => {});
  }

  /**
   * Loads a model folder: config.json, model.safetensors, tokenizer.json, preprocessor_config.json.
   * Rejects `ERR_COTS_CHECKPOINT` for a file that is missing, torn or of another shape, `ERR_COTS_OPTION`, `ERR_COTS_DEVICE`.
   */
  static async load(directory: string, options?: LoadOptions): Promise<Cots> {
    const site = callSite(Cots.load);
    return fromSite(site, async () => {
      check.text('directory', directory);
      check.options('Cots.load', options, ['device', 'precision', 'threads', 'signal']);
      const signal = check.signal(options?.signal);
      const parts = await loadParts(directory, options ?? {});
      if (signal?.aborted) (await parts.native).dispose();
      signal?.throwIfAborted();
      return new Cots(parts);
    });
  }

  /** A model with random weights. Without a vocabulary of its own it spells words letter by letter. Rejects `ERR_COTS_CONFIG`, `ERR_COTS_OPTION`. */
  static async create(config: ModelConfigInput, options?: CreateOptions): Promise<Cots> {
    const site = callSite(Cots.create);
    return fromSite(site, async () => {
      check.options('Cots.create', options, ['seed', 'device']);
      return new Cots(await createParts(config, options ?? {}));
    });
  }

  /**
   * Embeds images: unit rows [n, D]. A path, encoded bytes, or RGB pixels each; resized to the model's input, aspect not kept.
   * Bytes and pixels must not change until the promise has settled.
   * Rejects `ERR_COTS_IMAGE` naming the first image that cannot be read.
   */
  async embedImages(images: readonly ImageInput[], options?: ImageOptions): Promise<Matrix> {
    const site = callSite(this.embedImages);
    return fromSite(site, async () => {
      const { batchSize, signal } = this.#options('embedImages', options, defaultImageBatch, imageKeys);
      const scaleOnLoad = check.boolean('scaleOnLoad', options?.scaleOnLoad ?? false);
      if (!Array.isArray(images))
        throw new OptionError(`Expected \`images\` to be an array, got ${check.show(images)}.`);
      const dimension = this.#towers.dimension('image');
      const rows = emptyMatrix(images.length, dimension);
      const views = (begin: number): Promise<Uint8Array> =>
        this.#towers.views(images.slice(begin, begin + batchSize), begin, scaleOnLoad);
      let next = images.length > 0 ? views(0) : undefined;
      for (let begin = 0; begin < images.length; begin += batchSize) {
        const pixels = await (next as Promise<Uint8Array>);
        signal?.throwIfAborted();
        next = begin + batchSize < images.length ? views(begin + batchSize) : undefined;
        next?.catch(() => {});
        const count = Math.min(batchSize, images.length - begin);
        rows.data.set(await this.#towers.embedPixels(pixels, count, signal), begin * dimension);
      }

      return rows;
    });
  }

  /** Embeds texts: unit rows [n, D]. Cleaning and length limit are the model's own. An empty text embeds as [CLS][SEP]. */
  async embedTexts(texts: readonly string[], options?: EmbedOptions): Promise<Matrix> {
    const site = callSite(this.embedTexts);
    return fromSite(site, async () => {
      const { batchSize, signal } = this.#options('embedTexts', options, defaultTextBatch);
      check.texts('texts', texts);
      const dimension = this.#towers.dimension('text');
      const rows = emptyMatrix(texts.length, dimension);
      for (let begin = 0; begin < texts.length; begin += batchSize) {
        const embedded = await this.#towers.embedWords(texts.slice(begin, begin + batchSize), signal);
        rows.data.set(embedded, begin * dimension);
      }

      return rows;
    });
  }

  /**
   * Embeds videos by some of their frames: each frame as an image, a video as the mean of its frames, unit rows all (SPEC 5.2).
   * A path, or `SHARD.tar!MEMBER` for one inside a WebDataset shard. The next videos are decoded while frames are embedded.
   * Rejects `ERR_COTS_VIDEO` naming the first video that cannot be read, and `ERR_COTS_INSTALL` without ffmpeg.
   */
  async embedVideos(videos: readonly string[], options?: VideoOptions): Promise<VideoEmbeddings> {
    const site = callSite(this.embedVideos);
    return fromSite(site, async () => {
      const { batchSize, signal } = this.#options('embedVideos', options, defaultImageBatch, videoKeys);
      const items = check.texts('videos', videos).map((video, index) => ({ video, index }));
      const { model, options: how } = this.#towers.clips(options, batchSize, signal, videos.length);
      const found: EmbeddedClip[] = [];
      for await (const result of embedClips(asyncOf(items), model, how)) {
        for (const one of result) {
          if ('clip' in one) {
            found.push(one.clip);
            continue;
          }

          one.error.message = `${one.error.message} (It is videos[${one.item.index}].)`;
          throw one.error;
        }
      }

      const { videos: rows, vectors, offsets, timestamps } = stackClips(found, model.dimension);
      return { videos: rows, frames: vectors, offsets, timestamps };
    });
  }

  /**
   * Where an image answers a text: a map over the image's patches, and the score of the two (SPEC 9). Two towers do not attend to one another,
   * so the map comes from their score; it runs on the CPU in float32, and the first call copies the image tower's weights.
   * Rejects `ERR_COTS_IMAGE`, and `ERR_COTS_OPTION` for a model without both towers.
   */
  async attention(image: ImageInput, text: string, options?: AttentionOptions): Promise<AttentionMap> {
    const site = callSite(this.attention);
    return fromSite(site, async () => {
      this.#calls.check();
      const given = checkAttentionOptions(options, this.config);
      return this.#towers.attention(image, check.text('text', text), given);
    });
  }

  /**
   * Embeds a stream in batches, in order, holding two batches at most. An item that cannot be embedded is left out of `ids` and
   * `vectors` and stands in `errors`; aborts, disposal and failures of the stream itself are thrown. Videos come in batches of
   * their own, with `frames`; `batchSize` then counts frames.
   */
  embed(stream: AsyncIterable<Item>, options?: ImageOptions & VideoOptions): AsyncIterable<EmbeddedBatch> {
    return this.#embed(stream, options);
  }

  async *#embed(
    stream: AsyncIterable<Item>,
    options: (ImageOptions & VideoOptions) | undefined,
  ): AsyncGenerator<EmbeddedBatch, void, undefined> {
    const keys = [...imageKeys, ...videoKeys];
    const { batchSize, signal } = this.#options('embed', options, defaultImageBatch, keys);
    const scaleOnLoad = check.boolean('scaleOnLoad', options?.scaleOnLoad ?? false);
    const towers = this.#towers;
    yield* embedStream(stream, {
      batchSize,
      orStopped: (work) => towers.orStopped(signal, work),
      dimensions: { image: towers.dimension('image'), text: towers.dimension('text') },
      view: (image) => towers.view(image, scaleOnLoad),
      embedPixels: (pixels, count) => towers.embedPixels(pixels, count, signal),
      embedTexts: (texts) => towers.embedWords(texts, signal),
      clips: this.#towers.clips(options, batchSize, signal, Infinity),
    });
  }

  /** Writes a model folder: a new one appears whole, in an existing one each file is replaced whole. Rejects `ERR_COTS_FILE`. */
  async save(directory: string): Promise<void> {
    const site = callSite(this.save);
    return fromSite(site, async () => {
      check.text('directory', directory);
      const { description, tokenizer, native } = this.#parts;
      await this.#calls.run(undefined, async () => {
        const model = await native;
        await writeModelFolder(directory, description, tokenizer, (file) => model.save({ file }));
      });
    });
  }

  /** Frees the weights. Pending and later calls reject `ERR_COTS_DISPOSED`. A second call does nothing. */
  dispose(): void {
    if (!this.#calls.dispose()) return;
    this.#parts.native.then(
      (model) => model.dispose(),
      () => {},
    );
  }

  #options(
    where: string,
    options: EmbedOptions | undefined,
    batch: number,
    more: readonly string[] = [],
  ): { batchSize: number; signal: AbortSignal | undefined } {
    this.#calls.check();
    check.options(where, options, ['batchSize', 'signal', ...more]);
    return {
      batchSize: check.integer('batchSize', options?.batchSize ?? batch, 1, 65_536),
      signal: check.signal(options?.signal),
    };
  }
}

const imageKeys = ['scaleOnLoad'];
const videoKeys = ['frames', 'fps', 'skipBlack'];

async function* asyncOf<T>(items: readonly T[]): AsyncGenerator<T, void, undefined> {
  yield* items;
}

function emptyMatrix(rows: number, columns: number): Matrix {
  return { data: new Float32Array(rows * columns), shape: [rows, columns] };
}
