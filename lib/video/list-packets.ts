/** What ffmpeg tells of a video's packets (no decoding) and of its frames (decoding all). */
import type { Readable } from 'node:stream';
import { VideoError } from '../errors.js';
import { type FfmpegOptions, FfmpegProcess, outputUrl, unreadable } from './ffmpeg-process.js';
import { maxFrames, type TableOptions } from './frame-table.js';
import { type ShownFrame, shownFrame } from './shown-frame.js';
import { eachLine } from './stderr-lines.js';
import { inputArguments, type VideoSource } from './video-source.js';

/** Packets in decoding order, times in ticks (NaN: not told). */
export interface PacketList {
  readonly width: number;
  readonly height: number;
  readonly secondsPerTick: number;
  readonly transfer: string;
  readonly packets: readonly ListedPacket[];
}

export interface ListedPacket {
  readonly pts: number;
  readonly duration: number;
  readonly isKey: boolean;
  readonly isShown: boolean;
  readonly isReference: boolean;
  readonly isEntry: boolean;
}

/** Flags of a packet: it begins a run that can be decoded by itself; it is decoded and not shown. */
const flags = { key: 1, discard: 4 } as const;

/**
 * One reading of the file gives three lists: all packets; those of H.264 that others may need (nal_ref_idc above 0); those with
 * an IDR picture (NAL unit type 5), before which nothing is needed. Other codecs do not have the filter: then all are needed.
 */
const lists: readonly (readonly string[])[] = [
  [],
  ['-bsf:v', 'filter_units=discard=nonref'],
  ['-bsf:v', 'filter_units=pass_types=5'],
];

/** Lists the packets of the first video stream that is no cover picture. Throws `ERR_COTS_VIDEO`. */
export async function listPackets(source: VideoSource, options: TableOptions): Promise<PacketList> {
  const whole = await readLists(source, lists, options);
  if ('tables' in whole && whole.codec === 'h264') return packetList(whole, source.name);
  // The codec, or an older ffmpeg, does not have the filter; or the file is broken, which the plain list tells.
  const plain = 'tables' in whole ? whole : await readLists(source, lists.slice(0, 1), options);
  if ('failure' in plain) throw plain.failure;
  return packetList({ ...plain, tables: plain.tables.slice(0, 1) }, source.name);
}

interface Listing {
  readonly codec: string;
  readonly transfer: string;
  readonly tables: readonly (readonly string[])[];
}

async function readLists(
  source: VideoSource,
  filters: readonly (readonly string[])[],
  options: TableOptions,
): Promise<Listing | { readonly failure: unknown }> {
  const args = filters.flatMap((filter, index) => [
    ...['-map', '0:V:0', '-c', 'copy', '-copyinkf', ...filter],
    ...['-f', 'framecrc', outputUrl(index)],
  ]);
  let transfer = '';
  let isOutput = false;
  const ffmpeg = await FfmpegProcess.start([...inputArguments(source), ...args], {
    ...processOptions(source, options),
    outputs: filters.length,
    onLine(line) {
      isOutput ||= line.includes('Output #0');
      if (isOutput && transfer === '') transfer = transferOf(line);
    },
  });
  try {
    const tables = await ffmpeg.waitFor(
      Promise.all(ffmpeg.outputs.map((output) => readTable(output, source.name))),
    );
    await ffmpeg.end();
    const codec = field(tables[0] ?? [], 'codec_id 0');
    // What a decoder says of the pictures it has a first look at is no fault of the container.
    const broken = ffmpeg.errors.find(({ from }) => from !== codec);
    if (broken !== undefined) throw unreadable(source.name, broken.message);
    return { codec, transfer, tables };
  } catch (failure) {
    options.signal?.throwIfAborted();
    if (ffmpeg.isLost) throw failure;
    return { failure };
  } finally {
    await ffmpeg.kill();
  }
}

/** `yuv420p10le(tv, bt2020nc/bt2020/smpte2084, progressive)` of the line of a video stream. */
function transferOf(line: string): string {
  return /Stream #0:0.*: Video: .*\((?:[^()]*, )?[\w-]+\/[\w-]+\/([\w-]+)/.exec(line)?.[1] ?? '';
}

async function readTable(output: Readable, name: string): Promise<string[]> {
  const rows: string[] = [];
  await new Promise<void>((resolve, reject) => {
    eachLine(output, (line) => {
      rows.push(line);
      if (rows.length > maxFrames)
        reject(new VideoError(`Expected ${name} to have at most ${maxFrames} frames, got more. Cut it.`));
    });
    output.once('close', resolve);
    output.once('end', resolve);
  });
  return rows;
}

/** `#dimensions 0: 320x240` and the like. */
function field(rows: readonly string[], key: string): string {
  return rows.find((row) => row.startsWith(`#${key}: `))?.slice(key.length + 3) ?? '';
}

function packetList({ tables, transfer }: Listing, name: string): PacketList {
  const [all = [], needed, entries] = tables;
  const [width = Number.NaN, height = Number.NaN] = field(all, 'dimensions 0').split('x').map(Number);
  const [numerator = Number.NaN, denominator = Number.NaN] = field(all, 'tb 0').split('/').map(Number);
  if (!(width > 0 && height > 0 && numerator > 0 && denominator > 0))
    throw unreadable(name, 'no size or time base of its pictures');
  const [neededTimes, entryTimes] = [timesOf(needed), timesOf(entries)];
  const packets = all.flatMap((row) => {
    if (row.startsWith('#')) return [];
    const [, , pts = '', duration = '', , , flag = ''] = row.split(',');
    const time = ticks(pts);
    const bits = flag.startsWith(' F=') ? Number(flag.slice(3)) : flags.key;
    const isKey = (bits & flags.key) !== 0;
    return {
      pts: time,
      duration: Number(duration),
      isKey,
      isShown: (bits & flags.discard) === 0,
      isReference: neededTimes?.has(time) ?? true,
      isEntry: entryTimes?.has(time) ?? isKey,
    };
  });
  return { width, height, secondsPerTick: numerator / denominator, transfer, packets };
}

/** The times in a list: the third column of `stream, dts, pts, duration, size, hash, F=flags`, where flags other than `key` are told. */
function timesOf(rows: readonly string[] | undefined): Set<number> | undefined {
  return rows && new Set(rows.map((row) => ticks(row.split(',', 3)[2] ?? '')));
}

/** Older versions write a missing time as -2^63. */
function ticks(column: string): number {
  const time = Number(column);
  return time > -(2 ** 62) ? time : Number.NaN;
}

/** The frames that decoding gives, in the order of showing. */
export async function decodedTimes(source: VideoSource, options: TableOptions): Promise<ShownFrame[]> {
  const frames: ShownFrame[] = [];
  const args = ['-map', '0:V:0', '-vf', 'showinfo=checksum=0', '-fps_mode', 'passthrough', '-f', 'null', '-'];
  const ffmpeg = await FfmpegProcess.start([...inputArguments(source), ...args], {
    ...processOptions(source, options),
    onLine(line) {
      const frame = shownFrame(line);
      if (frame !== undefined && frames.length < maxFrames) frames.push(frame);
    },
  });
  try {
    await ffmpeg.end();
    return frames;
  } finally {
    await ffmpeg.kill();
  }
}

function processOptions({ name }: VideoSource, { signal, seconds }: TableOptions): FfmpegOptions {
  return { name, signal, ...(seconds === undefined ? {} : { seconds }) };
}
