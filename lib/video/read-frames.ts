/** The pixels of some frames of a video, as raw RGB through a pipe: exactly the frames asked for, or an error. */
import { VideoError } from '../errors.js';
import { ByteReader } from './byte-reader.js';
import { type DecodePlan, decodePlan, wholePlan } from './decode-plan.js';
import { FfmpegProcess, unreadable } from './ffmpeg-process.js';
import type { FrameTable } from './frame-table.js';
import { ShownFrames } from './shown-frame.js';
import { toRgb } from './to-rgb.js';
import { inputArguments, type VideoSource } from './video-source.js';

/** A decoded frame. */
export interface VideoFrame {
  /** Place in the order of showing. */
  readonly index: number;
  /** Seconds from the beginning of the video. */
  readonly timestamp: number;
  /** RGB, row-major [height, width, 3]; the caller's to keep. */
  readonly data: Uint8Array;
  /** Pixels, after rotation. */
  readonly width: number;
  readonly height: number;
}

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
  /** Threads of the decoder; they change no pixel. @default 1 */
  readonly threads?: number;
  /** Bound on waiting for ffmpeg. @default 300 */
  readonly seconds?: number;
}

/** Decoding gives other frames than the table has. */
export class OtherFramesError extends VideoError {}

/**
 * The frames of the numbers given (ascending, each once), in that order, decoded as they are taken. Throws `ERR_COTS_VIDEO` for
 * damaged pictures or ones that do not come, `ERR_COTS_INSTALL`, or the signal's reason; leaving the loop ends ffmpeg.
 */
export async function* readFrames(
  source: VideoSource,
  table: FrameTable,
  frames: readonly number[],
  options: ReadOptions = {},
): AsyncGenerator<VideoFrame, void, undefined> {
  let done = 0;
  const quick = decodePlan(table, frames);
  if (quick.input.length > 0 && takesFilters) {
    for await (const frame of decode(source, table, frames, { plan: quick, isLast: false }, options)) {
      done++;
      yield frame;
    }
  }

  // All of a stream that is not what its packets say, and with an ffmpeg that does not filter its input.
  const left = frames.slice(done);
  if (left.length > 0)
    yield* decode(source, table, left, { plan: wholePlan(table, left), isLast: true }, options);
}

/** Whether this ffmpeg filters the packets of an input, as it does from 7.1 on. */
let takesFilters = true;

interface Attempt {
  readonly plan: DecodePlan;
  /** Else it ends early, with the frames that it could read. */
  readonly isLast: boolean;
}

async function* decode(
  source: VideoSource,
  table: FrameTable,
  frames: readonly number[],
  { plan, isLast }: Attempt,
  options: ReadOptions,
): AsyncGenerator<VideoFrame, void, undefined> {
  const shown = new ShownFrames();
  const ffmpeg = await startDecoder(source, table, plan, frames.length, shown, options);
  const pixels = new ByteReader(ffmpeg.output);
  try {
    for (const [place, index] of frames.entries()) {
      const frame = await ffmpeg.waitFor(shown.next());
      // Complaints about a frame come before the line about it.
      const damage = ffmpeg.errors.find(({ message }) => !isLast || damaged.test(message));
      if (damage !== undefined) return giveUp(ffmpeg, unreadable(source.name, damage.message), isLast);
      const other = otherFrames(source.name, place, index);
      if (frame !== undefined && !Object.is(frame.pts, table.pts[index]))
        return giveUp(ffmpeg, other, isLast);
      const { width = 0, height = 0 } = frame ?? {};
      const data = frame && (await ffmpeg.waitFor(pixels.read(3 * width * height)));
      if (data === undefined) return giveUp(ffmpeg, await endOf(ffmpeg, other), isLast);
      yield { index, timestamp: table.timestamps[index] as number, data, width, height };
    }

    await ffmpeg.end();
  } finally {
    await ffmpeg.kill();
  }
}

function startDecoder(
  source: VideoSource,
  { transfer }: FrameTable,
  plan: DecodePlan,
  count: number,
  shown: ShownFrames,
  { signal, threads = 1, seconds }: ReadOptions,
): Promise<FfmpegProcess> {
  const filters = [plan.filter, ...toRgb(transfer), 'showinfo=checksum=0'].filter((one) => one !== '');
  return FfmpegProcess.start(
    [
      ...inputArguments(source, [...plan.input, '-threads', String(threads)]),
      ...['-map', '0:V:0', '-vf', filters.join(','), '-filter_threads', String(threads)],
      ...['-fps_mode', 'passthrough', '-frames:v', String(count), '-f', 'rawvideo', 'pipe:1'],
    ],
    {
      name: source.name,
      signal,
      onLine: (line) => shown.add(line),
      onLastLine: () => shown.end(),
      ...(seconds === undefined ? {} : { seconds }),
    },
  );
}

/** What a decoder says of a picture that it could not decode whole. */
const damaged = /conceal|error while decoding|invalid|corrupt|submitting packet to decoder|missing picture/i;

/** Why ffmpeg ended before its time; `other` where it does not say. */
async function endOf(ffmpeg: FfmpegProcess, other: unknown): Promise<unknown> {
  try {
    await ffmpeg.end();
    return other;
  } catch (error) {
    return error;
  }
}

/** Throws the reason, save where ffmpeg complained and another attempt follows, which may have none to complain of. */
function giveUp({ errors }: FfmpegProcess, reason: unknown, isLast: boolean): void {
  takesFilters &&= !errors.some(({ message }) => /cannot be applied to input/.test(message));
  if (isLast || (errors.length === 0 && !(reason instanceof OtherFramesError))) throw reason;
}

function otherFrames(name: string, place: number, index: number): OtherFramesError {
  return new OtherFramesError(
    `Expected ${name} to give frame ${index}, decoding gave another one or none (after ${place} right ones). Encode the video again.`,
  );
}
