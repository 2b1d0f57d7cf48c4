/** A few frames of a video, chosen by when its frames are shown. */
import { acceptableFrames } from './black-frames.js';
import { decodedTable, type FrameTable, frameTable } from './frame-table.js';
import { OtherFramesError, type ReadOptions, readFrames, type VideoFrame } from './read-frames.js';
import { videoSource } from './video-source.js';

export interface SampleOptions extends ReadOptions {
  /** Take the nearest frame that is not black in place of a black one (see black-frames.ts). @default false */
  readonly skipBlack?: boolean;
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
  const source = await videoSource(location);
  const read = async function* (table: FrameTable): AsyncGenerator<SampledFrame, void, undefined> {
    const chosen = choose(table);
    const frames =
      options.skipBlack === true ? await acceptableFrames(source, table, chosen, options) : chosen;
    for await (const frame of readFrames(source, table, frames, options))
      yield { ...frame, duration: table.duration };
  };
  let taken = 0;
  try {
    for await (const frame of read(await frameTable(source, options))) {
      taken++;
      yield frame;
    }
  } catch (error) {
    // A stream that begins in the middle shows fewer frames than it has packets: decoding tells how many.
    if (!(error instanceof OtherFramesError) || taken > 0) throw error;
    yield* read(await decodedTable(source, options));
  }
}
