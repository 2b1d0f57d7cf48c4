/** Makes a data set of emoji scenes: images, clips and the manifest that names them. */
import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CotsError } from '../../lib/errors.js';
import { type Artist, SpriteCache } from './artists.js';
import { planClips } from './clip-scene.js';
import { type ShotTruth, writeClip } from './clips.js';
import { type Concept, loadConcepts } from './concepts.js';
import { resolveSceneOptions, type SceneOptions } from './options.js';
import { encodePng } from './png.js';
import { type Box, renderScene, spriteScale } from './render.js';
import { backgroundColors } from './scene.js';
import { type PlannedImage, planImages, type Split } from './split.js';

/** A line of `manifest.jsonl`. Paths are relative to the manifest. */
export type ManifestRow = ImageRow | ClipRow;

/** An image with its captions. `scene` is what the image shows, also where the captions are another image's. */
export interface ImageRow {
  readonly id: string;
  readonly image: string;
  readonly captions: readonly string[];
  readonly split: Split;
  /** `emoji-scenes/ARTIST`. */
  readonly source: string;
  /** Present on the images whose captions were swapped. */
  readonly mismatched?: true;
  readonly scene: {
    readonly artist: Artist;
    /** Name of the background color. */
    readonly background: string;
    readonly layout: string;
    /** Ids of the concepts, such as `red-apple`. */
    readonly concepts: readonly string[];
    /** Tight box of each, in pixels: left, top, width, height. */
    readonly boxes: readonly Box[];
  };
}

/** A clip with its captions. */
export interface ClipRow {
  readonly id: string;
  readonly video: string;
  readonly captions: readonly string[];
  readonly split: 'clips';
  readonly source: string;
  readonly scene: {
    readonly artist: Artist;
    readonly shots: readonly (Omit<ShotTruth, 'background'> & { background: string })[];
  };
}

/** What was made. */
export interface GeneratedScenes {
  /** Path of `manifest.jsonl`. */
  readonly manifest: string;
  /** Rows of each split. */
  readonly splits: Readonly<Record<string, number>>;
  /** Wall time. */
  readonly seconds: number;
}

/** Runs `work` on every item, `concurrency` at once; results keep the order of the items. */
async function mapConcurrently<T, R>(
  items: readonly T[],
  options: SceneOptions,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  const queue = items.entries();
  let stopped = false;
  const lane = async () => {
    for (const [index, item] of queue) {
      if (stopped) return;
      try {
        options.signal?.throwIfAborted();
        results[index] = await work(item);
      } catch (error) {
        stopped = true;
        throw error;
      }
    }
  };
  // Every lane is awaited: nothing is written any more once the caller hears of a failure.
  const lanes = await Promise.allSettled(Array.from({ length: options.concurrency }, lane));
  const failed = lanes.find((outcome) => outcome.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return results;
}

/** Counts finished items of one stage and tells the caller. */
function counter(stage: 'images' | 'clips', total: number, options: SceneOptions): () => void {
  let done = 0;
  return () => options.onProgress?.({ stage, done: ++done, total });
}

async function writeImages(plan: readonly PlannedImage[], options: SceneOptions): Promise<ImageRow[]> {
  const { out, size } = options;
  for (const split of new Set(plan.map((image) => image.split)))
    await mkdir(join(out, 'images', split), { recursive: true });
  const sprites = new SpriteCache(spriteScale * size);
  const count = counter('images', plan.length, options);
  return mapConcurrently(plan, options, async ({ id, split, scene, captions, mismatched }) => {
    const { data, boxes } = await renderScene(scene, size, sprites);
    const image = `images/${split}/${id}.png`;
    await writeFile(join(out, image), encodePng(data, size, size));
    count();
    const concepts = scene.concepts.map((concept) => concept.id);
    const truth = {
      artist: scene.artist,
      background: colorName(scene.background),
      layout: scene.layout,
      concepts,
      boxes,
    };
    const source = `emoji-scenes/${scene.artist}`;
    return { id, image, captions, split, source, ...(mismatched ? { mismatched } : {}), scene: truth };
  });
}

function colorName(background: number): string {
  return backgroundColors[background]?.name ?? '';
}

async function writeClips(options: SceneOptions, concepts: readonly Concept[]): Promise<ClipRow[]> {
  if (options.clips === 0) return [];
  await mkdir(join(options.out, 'clips'), { recursive: true });
  const sprites = new SpriteCache(spriteScale * options.clipSize);
  const count = counter('clips', options.clips, options);
  return mapConcurrently(planClips(concepts, options), options, async (clip) => {
    const video = `clips/${clip.id}.mp4`;
    const truths = await writeClip(clip, join(options.out, video), options, sprites);
    count();
    const shots = truths.map((truth) => ({ ...truth, background: colorName(truth.background) }));
    const { id, captions, artist } = clip;
    return {
      id,
      video,
      captions,
      split: 'clips',
      source: `emoji-scenes/${artist}`,
      scene: { artist, shots },
    };
  });
}

/** Says which folder could not be written; other errors stay as they are. */
function asFileError(error: unknown, out: string): unknown {
  if (!(error instanceof Error) || error instanceof CotsError || !('syscall' in error)) return error;
  const message = `Expected \`out\` to be a folder that can be written, got ${out}: ${error.message}. Choose another.`;
  return new CotsError('ERR_COTS_FILE', message, { cause: error });
}

/** Written beside, synced and renamed: a manifest that exists is whole, and so is all that it names. */
async function writeManifest(file: string, rows: readonly ManifestRow[]): Promise<void> {
  const beside = `${file}.tmp`;
  const handle = await open(beside, 'w');
  try {
    await handle.writeFile(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(beside, file);
}

/**
 * Makes the images, the clips and `manifest.jsonl` in `options.out`.
 * The same seed and options give the same bytes, whatever the concurrency.
 * Rejects with OptionError for a bad option, with `signal.reason` when aborted, with CotsError (ERR_COTS_FILE) when a file cannot be written.
 */
export async function generateScenes(
  given: Partial<SceneOptions> & { out: string },
): Promise<GeneratedScenes> {
  const started = performance.now();
  const options = resolveSceneOptions(given);
  const concepts = await loadConcepts();
  const plan = planImages(concepts, options);
  try {
    return await write(plan, concepts, options, started);
  } catch (error) {
    throw asFileError(error, options.out);
  }
}

async function write(
  plan: readonly PlannedImage[],
  concepts: readonly Concept[],
  options: SceneOptions,
  started: number,
): Promise<GeneratedScenes> {
  const manifest = join(options.out, 'manifest.jsonl');
  await mkdir(options.out, { recursive: true });
  await rm(manifest, { force: true });
  const rows: ManifestRow[] = await writeImages(plan, options);
  rows.push(...(await writeClips(options, concepts)));
  await writeManifest(manifest, rows);
  const splits: Record<string, number> = {};
  for (const { split } of rows) splits[split] = (splits[split] ?? 0) + 1;
  return { manifest, splits, seconds: (performance.now() - started) / 1000 };
}
