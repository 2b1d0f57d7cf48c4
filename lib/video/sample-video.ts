/** A few frames of a video, chosen by when its frames are shown. */
import { VideoError } from '../errors.js';
import { acceptableFrames } from './black-frames.js';
import { decodePlan } from './decode-plan.js';
import { decodedTable, type FrameTable, frameTable } from './frame-table.js';
import { OtherFramesError, type ReadOptions, readFrames, type VideoFrame } from './read-frames.js';
import type { Seat, SharedRuns } from './shared-runs.js';
import { refuseChanged, type VideoSource, videoSource } from './video-source.js';

export interface SampleOptions extends ReadOptions {
  /** Take the nearest frame that is not black in place of a black one (see black-frames.ts). @default false */
  readonly skipBlack?: boolean;
  /** What the clips that are read at the same time share; without it each has runs of its own, whenever it is asked for. */
  readonly runs?: SharedRuns;
}

export interface SampledFrame extends VideoFrame {
  /** Seconds of its whole video. */
  readonly duration: number;
}

/**
 * The frames that `choose` picks (numbers, ascending, each once), decoded as they are taken. `location` is a path or
 * `SHARD.tar!MEMBER`. Throws `ERR_COTS_VIDEO`, `ERR_COTS_FILE`, `ERR_COTS_DATA`, `ERR_COTS_INSTALL`, or the signal's reason.
 */
export async function* sampleVideo(
  location: string,
  choose: (table: FrameTable) => readonly number[],
  options: SampleOptions = {},
): AsyncGenerator<SampledFrame, void, undefined> {
  const seat = options.runs?.seat();
  try {
    const source = await videoSource(location);
    yield* whileUnchanged(source, sampleSource(source, choose, options, seat));
  } finally {
    seat?.free();
  }
}

/** Nothing that was read of a file after a change; of a failure, whether a change is the reason. */
async function* whileUnchanged(
  source: VideoSource,
  frames: AsyncIterable<SampledFrame>,
): AsyncGenerator<SampledFrame, void, undefined> {
  try {
    for await (const frame of frames) {
      await refuseChanged(source);
      yield frame;
    }
  } catch (error) {
    if (error instanceof VideoError) await refuseChanged(source);
    throw error;
  }
}

async function* sampleSource(
  source: VideoSource,
  choose: (table: FrameTable) => readonly number[],
  options: SampleOptions,
  seat: Seat | undefined,
): AsyncGenerator<SampledFrame, void, undefined> {
  let taken = 0;
  try {
    for await (const frame of sampleTable(source, await frameTable(source, options), choose, options, seat)) {
      taken++;
      yield frame;
    }
  } catch (error) {
    // A stream that begins in the middle shows fewer frames than it has packets: decoding tells how many.
    if (!(error instanceof OtherFramesError) || taken > 0) throw error;
    yield* sampleTable(source, await decodedTable(source, options), choose, options, seat);
  }
}

async function* sampleTable(
  source: VideoSource,
  table: FrameTable,
  choose: (table: FrameTable) => readonly number[],
  options: SampleOptions,
  seat: Seat | undefined,
): AsyncGenerator<SampledFrame, void, undefined> {
  const { duration } = table;
  let frames = choose(table);
  if (options.skipBlack === true) {
    await seat?.alone(options.signal);
    frames = await acceptableFrames(source, table, frames, options);
  } else if (seat !== undefined) {
    let taken = 0;
    const plan = decodePlan(table, frames);
    for await (const frame of seat.together({ source, table, frames, plan }, options.signal)) {
      taken++;
      yield { ...frame, duration };
    }
    frames = frames.slice(taken);
    if (frames.length === 0) return;
    // A reader that has frames may hold what those that have a run wait for: it does not wait for them.
    if (taken === 0) await seat.alone(options.signal);
  }

  for await (const frame of readFrames(source, table, frames, options)) yield { ...frame, duration };
}
