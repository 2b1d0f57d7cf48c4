/**
 * Black frames, such as fades: those of which ffmpeg's `blackframe` filter says that at least 98 % of the luma samples are below
 * 32 (of 16 to 235).
 */
import { type DecodePlan, decodePlan, wholePlan } from './decode-plan.js';
import { FfmpegProcess } from './ffmpeg-process.js';
import type { FrameTable } from './frame-table.js';
import type { ReadOptions } from './read-frames.js';
import { inputArguments, type VideoSource } from './video-source.js';

/**
 * `frames` with each black one replaced by the nearest frame that is neither black nor taken; one that has none is left out. A
 * video of black frames alone keeps `frames`. Only where one of them is black, all of the video is decoded.
 */
export async function acceptableFrames(
  source: VideoSource,
  table: FrameTable,
  frames: readonly number[],
  options: ReadOptions,
): Promise<number[]> {
  const some = await blackAmong(source, decodePlan(table, frames), options);
  if (!frames.some((frame) => some.has(table.pts[frame] as number))) return [...frames];
  const all = Array.from(table.pts, (_, frame) => frame);
  const black = await blackAmong(source, wholePlan(table, all), options);
  const isBlack = (frame: number): boolean => black.has(table.pts[frame] as number);
  const taken = new Set(frames.filter((frame) => !isBlack(frame)));
  for (const frame of frames.filter(isBlack)) {
    const other = nearestFrame(frame, all.length, (one) => !isBlack(one) && !taken.has(one));
    if (other !== undefined) taken.add(other);
  }

  return taken.size === 0 ? [...frames] : [...taken].sort((a, b) => a - b);
}

/** Of two equally near, the earlier one. */
function nearestFrame(frame: number, count: number, isGood: (frame: number) => boolean): number | undefined {
  for (let distance = 1; distance < count; distance++) {
    const found = [frame - distance, frame + distance].find((one) => one >= 0 && one < count && isGood(one));
    if (found !== undefined) return found;
  }

  return undefined;
}

/** Times (in ticks) of the black frames among those that a plan gives. */
async function blackAmong(
  source: VideoSource,
  plan: DecodePlan,
  { signal, threads = 1, seconds }: ReadOptions,
): Promise<Set<number>> {
  const black = new Set<number>();
  const filters = [plan.filter, 'blackframe=amount=98:threshold=32'].filter((one) => one !== '').join(',');
  const ffmpeg = await FfmpegProcess.start(
    [
      ...inputArguments(source, [...plan.input, '-threads', String(threads)]),
      ...['-map', '0:V:0', '-vf', filters, '-fps_mode', 'passthrough', '-f', 'null', '-'],
    ],
    {
      name: source.name,
      signal,
      onLine(line) {
        const pts = /^\[Parsed_blackframe.*\bpts:(-?\d+)/.exec(line)?.[1];
        if (pts !== undefined) black.add(Number(pts));
      },
      ...(seconds === undefined ? {} : { seconds }),
    },
  );
  try {
    await ffmpeg.end();
    return black;
  } finally {
    await ffmpeg.kill();
  }
}
