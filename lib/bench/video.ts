/** `bench video`: frames of clips, decoded by themselves and on their way through a model. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TrainConfig } from '../config/schema.js';
import { resolveThreads, usableCores } from '../device.js';
import { embedClips } from '../model/embed-clips.js';
import { createParts, loadParts } from '../model/model-parts.js';
import { Towers } from '../model/towers.js';
import { PendingCalls } from '../native-call.js';
import { decodePlan } from '../video/decode-plan.js';
import { requireFfmpeg } from '../video/find-ffmpeg.js';
import { frameTable } from '../video/frame-table.js';
import { type Sampling, sampleFrames } from '../video/sample-frames.js';
import { sampleVideo } from '../video/sample-video.js';
import { clipsOfRun, SharedRuns } from '../video/shared-runs.js';
import { videoSource } from '../video/video-source.js';
import { makeFilm } from './clips.js';
import { type BenchContext, benchContext } from './machine.js';
import { type Latency, latency, median } from './timing.js';

export interface BenchVideoOptions {
  /** Clips to read; null: made ones of 10 to 60 s, 320 x 240. */
  readonly clips: readonly string[] | null;
  readonly frames: number;
  /** Clips taken at most; of made ones, how many (Infinity: six). */
  readonly limit: number;
  /** Repeats of the decoding. */
  readonly rounds: number;
  /** A model, or a config with random weights, to embed with; null: decoding alone. */
  readonly model: { readonly directory: string } | { readonly config: TrainConfig } | null;
  readonly threads?: number | undefined;
}

export interface BenchVideoResult extends BenchContext {
  readonly clips: number;
  readonly frames: number;
  /** Of all clips, as many at a time as there are cores. */
  readonly clipsPerSecond: number;
  readonly framesPerSecond: number;
  /** Of one clip alone: from its path to its last frame. */
  readonly latencyMs: Latency;
  /** Median milliseconds a clip: listing its packets, and decoding. */
  readonly stages: { readonly table: number; readonly decode: number };
  /** Share of the packets that is decoded. */
  readonly decodedShare: number;
  readonly ffmpeg: string;
  readonly embed: EmbedShare | null;
}

/** Embedding of the clips, each once. */
export interface EmbedShare {
  readonly framesPerSecond: number;
  /** Share of the time, from the call to its end, in which a forward call was under way. */
  readonly forwardBusy: number;
  /** Seconds from the call to the first forward call: until then nothing is decoded. */
  readonly secondsToFirst: number;
  readonly seconds: number;
}

const lengths = [10, 20, 30, 40, 50, 60];

export async function benchVideo(options: BenchVideoOptions): Promise<BenchVideoResult> {
  const folder = options.clips === null ? await mkdtemp(path.join(tmpdir(), 'cots-bench-')) : null;
  try {
    const clips = (options.clips ?? (await makeClips(folder as string, options.limit))).slice(
      0,
      options.limit,
    );
    const measured = await measureDecoding(clips, options);
    const embed = options.model === null ? null : await measureEmbedding(clips, options, options.model);
    const { version } = await requireFfmpeg();
    return { ...measured, ffmpeg: version, embed, ...benchContext(resolveThreads(options.threads)) };
  } finally {
    if (folder !== null) await rm(folder, { recursive: true, force: true });
  }
}

/** One of each length, or `limit` of them, each length in turn. */
async function makeClips(folder: string, limit: number): Promise<string[]> {
  const clips: string[] = [];
  for (let index = 0; index < (Number.isFinite(limit) ? limit : lengths.length); index++) {
    const seconds = lengths[index % lengths.length] as number;
    clips.push(
      await makeFilm(folder, `${index}`, { width: 320, height: 240, rate: 25, seconds }, 10 * (index + 1)),
    );
  }

  return clips;
}

async function measureDecoding(clips: readonly string[], { frames, rounds }: BenchVideoOptions) {
  const cores = usableCores();
  const all: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const seconds = await decodeClips(clips, { frames }, cores);
    if (round > 0) all.push(seconds); // the first warms up
  }

  const alone: number[] = [];
  const tables: number[] = [];
  let [decoded, packets] = [0, 0];
  for (const clip of clips) {
    const start = performance.now();
    const table = await frameTable(await videoSource(clip));
    tables.push(performance.now() - start);
    decoded += decodePlan(table, sampleFrames(table, { frames })).decoded;
    packets += table.timestamps.length;
    const begin = performance.now();
    for await (const _ of sampleVideo(clip, (own) => sampleFrames(own, { frames }), { threads: cores }));
    alone.push(performance.now() - begin);
  }

  const clipsPerSecond = clips.length / median(all);
  return {
    clips: clips.length,
    frames,
    clipsPerSecond,
    framesPerSecond: frames * clipsPerSecond,
    latencyMs: latency(alone),
    stages: { table: median(tables), decode: median(alone) - median(tables) },
    decodedShare: decoded / packets,
  };
}

/** Reads frames of clips by `decoders` runs of ffmpeg at a time, as `embedVideos` does; the seconds it took. */
export async function decodeClips(
  clips: readonly string[],
  sampling: Sampling,
  decoders: number,
): Promise<number> {
  const start = performance.now();
  const queue = [...clips];
  const runs = new SharedRuns(decoders);
  const work = async (): Promise<void> => {
    for (let clip = queue.shift(); clip !== undefined; clip = queue.shift())
      for await (const _ of sampleVideo(clip, (table) => sampleFrames(table, sampling), { runs }));
  };
  await Promise.all(Array.from({ length: decoders * clipsOfRun }, work));
  return (performance.now() - start) / 1000;
}

async function measureEmbedding(
  clips: readonly string[],
  { frames, threads }: BenchVideoOptions,
  source: NonNullable<BenchVideoOptions['model']>,
): Promise<EmbedShare> {
  const own = threads === undefined ? {} : { threads };
  const parts =
    'directory' in source
      ? await loadParts(source.directory, own)
      : await createParts(source.config.model, { seed: source.config.train.seed, ...own });
  const towers = new Towers(parts, new PendingCalls('benchmark'));
  const { model, options } = towers.clips({ frames }, forwardBatch, undefined, clips.length);
  let [busy, first, done] = [0, Number.NaN, 0];
  const start = performance.now();
  const timed: typeof model = {
    ...model,
    async embedPixels(pixels, count) {
      const begin = performance.now();
      if (done === 0) first = begin - start;
      const rows = await model.embedPixels(pixels, count);
      busy += performance.now() - begin;
      done += count;
      return rows;
    },
  };
  async function* items(): AsyncGenerator<{ video: string }> {
    for (const video of clips) yield { video };
  }

  try {
    for await (const results of embedClips(items(), timed, options)) {
      for (const result of results) if ('error' in result) throw result.error;
    }
  } finally {
    (await parts.native).dispose();
  }

  const total = performance.now() - start;
  return {
    framesPerSecond: (1000 * done) / total,
    forwardBusy: busy / total,
    secondsToFirst: first / 1000,
    seconds: total / 1000,
  };
}

const forwardBatch = 32; // as `embedVideos` has it
