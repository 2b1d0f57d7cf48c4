/**
 * Several clips in one run of ffmpeg. To start a process and to open the first clip costs what decoding fifty small pictures does, so clips
 * that are wanted at the same time share that. Each has its own decoder, filters and pipes in the run.
 *
 * A run is read to its end at once, so none of its clips waits for another one's reader, and what it may hold is bounded
 * (`canShare`). It is asked to say nothing but complaints, and which clip a complaint is about cannot be told: with the first one, or
 * when it ends early, is killed or takes too long, what is still to come of each clip is left to be read alone, which also names what
 * is wrong. Frames that came before were decoded and checked before, and stay.
 */
import { setImmediate as polled } from 'node:timers/promises';
import type { DecodePlan } from './decode-plan.js';
import { FfmpegProcess, outputUrl } from './ffmpeg-process.js';
import type { FrameTable } from './frame-table.js';
import { type Picture, PpmFrames } from './ppm-frames.js';
import type { VideoFrame } from './read-frames.js';
import { eachLine } from './stderr-lines.js';
import { toRgb } from './to-rgb.js';
import { openArguments, runArguments, type VideoSource } from './video-source.js';

/** A clip, and what is wanted of it. */
export interface SharedClip {
  readonly source: VideoSource;
  readonly table: FrameTable;
  /** Ascending, each once. */
  readonly frames: readonly number[];
  readonly plan: DecodePlan;
}

/** Of one clip: decoding takes under a second, in which the start of a process counts, and its frames fit beside those of others. */
const mostDecodedPixels = 1e8;
const mostBytes = 2 ** 23;

/** Whether a clip gains by company, and would not spoil it. */
export function canShare({ table, frames, plan }: SharedClip): boolean {
  const pixels = table.width * table.height;
  return (
    isSupported &&
    frames.length > 0 &&
    table.packets !== null &&
    plan.decoded * pixels <= mostDecodedPixels &&
    frames.length * 3 * pixels <= mostBytes
  );
}

/** Whether this ffmpeg can: from 7.1 on it filters its input. */
let isSupported = true;

/** Many times what clips of that size take; each can still be read alone after that. */
const defaultSeconds = 30;

export class SharedRun {
  readonly #parts: readonly Part[];
  /** Clips of which more is to come. */
  #open: number;
  #finish: () => void = () => {};
  readonly #finished = new Promise<void>((resolve) => {
    this.#finish = resolve;
  });

  /** Settled when no process is left. Never rejects. */
  readonly ended: Promise<void>;

  /** Starts at once. `seconds` is the bound on the whole of it. */
  constructor(clips: readonly SharedClip[], seconds = defaultSeconds) {
    this.#open = clips.length;
    this.#parts = clips.map(
      (clip) =>
        new Part(clip, () => {
          this.#open--;
          if (this.#open === 0) this.#finish();
        }),
    );
    this.ended = this.#run(seconds);
  }

  /** The next frame of the clip at a place, exact; undefined after its last one, or where the others have to be read alone. */
  next(place: number): Promise<VideoFrame | undefined> {
    return (this.#parts[place] as Part).next();
  }

  /** A clip is done with, or no longer wanted. After the last one no process is left when this resolves. */
  async leave(place: number): Promise<void> {
    (this.#parts[place] as Part).close();
    if (this.#open === 0) await this.ended;
  }

  async #run(seconds: number): Promise<void> {
    let ffmpeg: FfmpegProcess | undefined;
    try {
      ffmpeg = await FfmpegProcess.start([...runArguments('error'), ...this.#arguments()], {
        name: this.#parts.map(({ clip }) => clip.source.name).join(', '),
        outputs: 2 * this.#parts.length,
        seconds,
        onLine: (line) => this.#giveUp(line),
      });
      for (const [index, output] of ffmpeg.outputs.entries()) {
        const part = this.#parts[index >> 1] as Part;
        if (index % 2 === 0) output.on('data', (bytes: Buffer) => part.addPixels(bytes));
        else eachLine(output, (line) => part.addTime(Number(line)));
      }
      await Promise.race([this.#finished, ffmpeg.end()]);
    } catch {
      // Each clip that is read alone tells what is wrong with it, or with ffmpeg.
    } finally {
      await ffmpeg?.kill();
      await polled(); // what came last is still looked at
      for (const part of this.#parts) part.close();
    }
  }

  #arguments(): string[] {
    return [
      ...this.#parts.flatMap(({ clip }) => openArguments(clip.source, [...clip.plan.input, '-threads', '1'])),
      ...this.#parts.flatMap(({ clip }, index) => outputArguments(clip, index)),
    ];
  }

  #giveUp(complaint: string): void {
    isSupported &&= !/cannot be applied to input|Unrecognized option/.test(complaint);
    for (const part of this.#parts) part.close();
  }
}

/**
 * Times come by a pipe of their own: the lines of several filters in one log run into each other. Then all times are made equal, as
 * ffmpeg would hold back the clips that are ahead of the others.
 */
function outputArguments({ table, frames, plan }: SharedClip, index: number): string[] {
  const filters = [plan.filter, ...toRgb(table.transfer), 'setpts=0'].filter((one) => one !== '');
  return [
    ...['-map', `${index}:V:0`, '-vf', filters.join(','), '-filter_threads', '1'],
    ...['-fps_mode', 'passthrough', '-frames:v', String(frames.length)],
    ...['-stats_enc_pre', outputUrl(2 * index + 1), '-stats_enc_pre_fmt', '{ptsi}'],
    ...['-c:v', 'ppm', '-f', 'image2pipe', outputUrl(2 * index)],
  ];
}

/** What has come of one clip. */
class Part {
  readonly clip: SharedClip;
  readonly #pictures: PpmFrames;
  readonly #onOver: () => void;
  /** Those that were not told a time yet, or were told one and did not come yet. */
  readonly #untimed: Picture[] = [];
  readonly #unseen: number[] = [];
  readonly #ready: VideoFrame[] = [];
  #given = 0;
  #isOver = false;
  #wake: () => void = () => {};

  /** `onOver` is called once: with its last frame, or when it is closed before. */
  constructor(clip: SharedClip, onOver: () => void) {
    this.clip = clip;
    this.#onOver = onOver;
    this.#pictures = new PpmFrames(3 * clip.table.width * clip.table.height, (picture) => {
      this.#untimed.push(picture);
      this.#match();
    });
  }

  /** Bytes that come when it is over are left where they are. */
  addPixels(bytes: Uint8Array): void {
    if (!this.#isOver && !this.#pictures.add(bytes)) this.close();
  }

  /** The time of the next picture, in ticks, as the decoder gave it. */
  addTime(pts: number): void {
    if (this.#isOver) return;
    this.#unseen.push(pts);
    this.#match();
  }

  /** The next frame; undefined when no more come. */
  async next(): Promise<VideoFrame | undefined> {
    while (this.#ready.length === 0 && !this.#isOver)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return this.#ready.shift();
  }

  /** Nothing more is taken; does nothing to one that is over. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#onOver();
    this.#wake();
  }

  #match(): void {
    while (this.#untimed.length > 0 && this.#unseen.length > 0)
      void this.#give(this.#untimed.shift() as Picture, this.#unseen.shift() as number);
  }

  /** ffmpeg complains of a picture before it writes it: that is read, too, when one round of polling is over. */
  async #give(picture: Picture, pts: number): Promise<void> {
    await polled();
    if (this.#isOver) return;
    const { table, frames } = this.clip;
    const index = frames[this.#given++];
    if (index === undefined || !Object.is(pts, table.pts[index])) return this.close();
    this.#ready.push({ index, timestamp: table.timestamps[index] as number, ...picture });
    if (this.#given === frames.length) this.close();
    else this.#wake();
  }
}
