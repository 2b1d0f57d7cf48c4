/**
 * Which frames a video has and when each is shown, from its packets, without decoding: read here of a usual MP4 file (half the
 * time of a short clip would go into another start of ffmpeg), listed by ffmpeg of all others. Where packets do not tell (no time
 * stamps, two of one time, packets that show nothing), the video is decoded once instead.
 */
import { maxPixels, maxSide } from '../data/decode.js';
import { VideoError } from '../errors.js';
import { unreadable } from './ffmpeg-process.js';
import { decodedTimes, listPackets, type PacketList } from './list-packets.js';
import { mp4Packets } from './mp4/mp4-packets.js';
import type { VideoSource } from './video-source.js';

/** A packet in decoding order. */
export interface Packet {
  /** Place of its frame in the order of showing; -1 for one that is decoded and not shown (before an edit's start). */
  readonly frame: number;
  /** Other packets may need its picture. */
  readonly isReference: boolean;
  /** Decoding may begin here after a gap, for every frame that is shown later. */
  readonly isEntry: boolean;
  readonly pts: number;
}

export interface FrameTable {
  /** Pixels as coded: before rotation. */
  readonly width: number;
  readonly height: number;
  /** Seconds from the beginning at which each frame is shown, ascending. */
  readonly timestamps: Float64Array;
  /** Presentation times in ticks of the container, ascending. */
  readonly pts: Float64Array;
  /** Seconds from the first frame to the end of the last. */
  readonly duration: number;
  /** In decoding order; null where only decoding told the frames: then all of the video has to be decoded. */
  readonly packets: readonly Packet[] | null;
  /** As ffmpeg names the transfer function, such as `smpte2084`; empty where the video does not say. */
  readonly transfer: string;
}

/** More frames are refused: eleven hours at 25 a second. */
export const maxFrames = 2 ** 20;

export interface TableOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bound on waiting for ffmpeg. @default 300 */
  readonly seconds?: number;
}

/** The frames of a video. Throws `ERR_COTS_VIDEO`, `ERR_COTS_INSTALL`, or the signal's reason. */
export async function frameTable(source: VideoSource, options: TableOptions = {}): Promise<FrameTable> {
  const list = (await mp4Packets(source, options.signal)) ?? (await listPackets(source, options));
  refuseTooLarge(list, source.name);
  return tableOf(list, source.name) ?? decodedTable(source, options);
}

/** The same by decoding all of it. */
export async function decodedTable(source: VideoSource, options: TableOptions = {}): Promise<FrameTable> {
  const list = await listPackets(source, options);
  const shown = await decodedTimes(source, options);
  if (shown.length === 0) throw unreadable(source.name, 'no frame that can be decoded');
  const ticks = shown.map(({ pts, seconds }, index) => (Number.isNaN(pts) ? index : seconds));
  return {
    width: list.width,
    height: list.height,
    timestamps: Float64Array.from(ticks),
    pts: Float64Array.from(shown, ({ pts }) => pts),
    duration: lengthOf(ticks, shown.at(-1)?.duration ?? 0),
    packets: null,
    transfer: list.transfer,
  };
}

/** Undefined where the packets do not tell the frames. */
function tableOf(list: PacketList, name: string): FrameTable | undefined {
  const { packets, secondsPerTick } = list;
  if (packets.length === 0) throw unreadable(name, 'no packet of video');
  const firstKey = packets.findIndex(({ isKey }) => isKey);
  const shown = packets.flatMap(({ pts, isShown }, index) => (isShown && index >= firstKey ? [pts] : []));
  const pts = Float64Array.from(shown).sort();
  // VP8's hidden packets have the time of the one that follows.
  if (pts.length === 0 || pts.some((time, index) => Number.isNaN(time) || time === pts[index - 1]))
    return undefined;
  const frameOf = new Map(Array.from(pts, (time, index) => [time, index]));
  const timestamps = pts.map((time) => time * secondsPerTick);
  const last = packets.find((packet) => packet.pts === pts.at(-1));
  return {
    width: list.width,
    height: list.height,
    timestamps,
    pts,
    duration: lengthOf(pts, last?.duration ?? 0) * secondsPerTick,
    packets: packets.map(({ pts: time, isShown, isReference, isEntry }, index) => ({
      frame: isShown && index >= firstKey ? (frameOf.get(time) as number) : -1,
      isReference,
      isEntry,
      pts: time,
    })),
    transfer: list.transfer,
  };
}

/** From the first time to the end of what begins at the last one. */
function lengthOf(times: ArrayLike<number>, lastDuration: number): number {
  return (times[times.length - 1] as number) - (times[0] as number) + lastDuration;
}

function refuseTooLarge({ width, height }: PacketList, name: string): void {
  if (width <= maxSide && height <= maxSide && width * height <= maxPixels) return;
  throw new VideoError(
    `Expected ${name} to be at most ${maxSide} pixels a side and ${maxPixels / 1e6} megapixels, got ${width} x ${height}. Make it smaller first.`,
  );
}
