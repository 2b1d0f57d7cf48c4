/**
 * The packets of an MP4 file with H.264 from its own tables, as ffmpeg lists them, without starting a process. Whatever is not of
 * the usual form - fragments, encryption, other codecs, edits that cut or delay, tables that do not fit - is left to ffmpeg.
 */
import { type FileHandle, open } from 'node:fs/promises';
import type { ListedPacket, PacketList } from '../list-packets.js';
import type { VideoSource } from '../video-source.js';
import { boxesOf, movieBox, optionalBox, type ReadAt, theBox, UnusualError, usual } from './boxes.js';
import { type H264Format, type H264Packet, judgeUnits, readSequence } from './h264.js';
import { type SampleTable, sampleTable } from './sample-table.js';

/** Undefined where ffmpeg has to list them. Throws the signal's reason. */
export async function mp4Packets(source: VideoSource, signal?: AbortSignal): Promise<PacketList | undefined> {
  signal?.throwIfAborted();
  let handle: FileHandle | undefined;
  try {
    handle = await open(source.file, 'r');
    return await packetsOf(readerOf(handle, source), source.end - source.begin, signal);
  } catch (error) {
    signal?.throwIfAborted();
    if (isLeftToFfmpeg(error)) return undefined;
    throw error;
  } finally {
    await handle?.close();
  }
}

function isLeftToFfmpeg(error: unknown): boolean {
  return (
    error instanceof UnusualError ||
    error instanceof RangeError ||
    (error as NodeJS.ErrnoException).code !== undefined
  );
}

const windowBytes = 2 ** 18;

/** Reads through a window, as the heads of packets lie close together. */
function readerOf(handle: FileHandle, { begin, end }: VideoSource): ReadAt {
  let [at, window] = [0, Buffer.alloc(0)];
  return async (position, length) => {
    usual(position + length <= end - begin, 'a whole file');
    if (position < at || position + length > at + window.length) {
      const room = Math.min(Math.max(length, windowBytes), end - begin - position);
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(room), 0, room, begin + position);
      [at, window] = [position, buffer.subarray(0, bytesRead)];
      usual(length <= bytesRead, 'a whole file');
    }

    return window.subarray(position - at, position - at + length);
  };
}

async function packetsOf(read: ReadAt, length: number, signal?: AbortSignal): Promise<PacketList> {
  const movie = await movieBox(read, length);
  usual(optionalBox(movie, 'mvex') === undefined, 'a file without fragments');
  const tracks = boxesOf(movie).flatMap(([type, content]) => (type === 'trak' ? [content] : []));
  const kinds = tracks.map((track) => theBox(track, 'mdia', 'hdlr').toString('latin1', 8, 12));
  usual(
    kinds.every((kind) => kind === 'vide' || kind === 'soun'),
    'pictures and sound alone',
  );
  usual(kinds.filter((kind) => kind === 'vide').length === 1, 'one track of pictures');
  const track = tracks[kinds.indexOf('vide')] as Buffer;
  const stbl = theBox(track, 'mdia', 'minf', 'stbl');
  checkInFile(theBox(track, 'mdia', 'minf', 'dinf', 'dref'));
  const { format, lengthBytes } = descriptionOf(theBox(stbl, 'stsd'));
  const table = sampleTable(stbl);
  const scale = timescaleOf(theBox(track, 'mdia', 'mdhd'));
  const movieScale = timescaleOf(theBox(movie, 'mvhd'));
  for (const [index, other] of tracks.entries()) if (kinds[index] === 'soun') editOf(other);
  const start = startOf(table, editOf(track), scale / movieScale, tracks.length);
  const packets: ListedPacket[] = [];
  for (const [index, time] of table.times.entries()) {
    signal?.throwIfAborted();
    const units = await judgePacket(
      read,
      table.offsets[index] as number,
      table.sizes[index] as number,
      lengthBytes,
    );
    const [duration, isKey] = [table.durations[index] as number, table.isKey[index] as boolean];
    packets.push({ pts: time - start, duration, isKey, isShown: true, ...units });
  }

  return { ...format, secondsPerTick: 1 / scale, packets };
}

/** The samples lie in this file. */
function checkInFile(dref: Buffer): void {
  const entries = boxesOf(dref.subarray(8));
  usual(
    entries.length === 1 && ((entries[0] as [string, Buffer])[1][3] as number) === 1,
    'samples in the file',
  );
}

function descriptionOf(stsd: Buffer): { format: H264Format; lengthBytes: number } {
  const entries = boxesOf(stsd.subarray(8));
  const [type, entry] = entries[0] ?? ['', Buffer.alloc(0)];
  usual(entries.length === 1 && type === 'avc1', 'H.264 with its parameters in front');
  const inside = entry.subarray(78);
  usual(optionalBox(inside, 'colr') === undefined, 'colors told by the stream alone');
  const parameters = theBox(inside, 'avcC');
  usual(parameters.readUInt8(0) === 1 && (parameters.readUInt8(5) & 31) === 1, 'one sequence');
  const format = readSequence(parameters.subarray(8, 8 + parameters.readUInt16BE(6)));
  usual(format.width === entry.readUInt16BE(24) && format.height === entry.readUInt16BE(26), 'one size');
  return { format, lengthBytes: 1 + (parameters.readUInt8(4) & 3) };
}

/** Ticks a second, of `mdhd` or `mvhd`. */
function timescaleOf(header: Buffer): number {
  const scale = header.readUInt32BE(header.readUInt8(0) === 1 ? 20 : 12);
  usual(scale > 0, 'a clock');
  return scale;
}

interface Edit {
  /** Ticks of the movie. */
  readonly duration: number;
  /** Ticks of the track from which on it is shown. */
  readonly start: number;
}

/** Undefined without an edit list. */
function editOf(track: Buffer): Edit | undefined {
  const edts = optionalBox(track, 'edts');
  if (edts === undefined) return undefined;
  const elst = theBox(edts, 'elst');
  const isLong = elst.readUInt8(0) === 1;
  usual(elst.readUInt32BE(4) === 1, 'one edit');
  const start = isLong ? Number(elst.readBigInt64BE(16)) : elst.readInt32BE(12);
  usual(
    start >= 0 && elst.readUInt32BE(isLong ? 24 : 16) === 0x10000,
    'an edit of the usual speed, without delay',
  );
  return { duration: isLong ? Number(elst.readBigUInt64BE(8)) : elst.readUInt32BE(8), start };
}

/** The tick that ffmpeg counts from: that of the first frame. */
function startOf(
  { times, durations, isKey }: SampleTable,
  edit: Edit | undefined,
  scale: number,
  tracks: number,
): number {
  const first = times.reduce((least, time) => Math.min(least, time));
  if (edit === undefined) {
    usual(tracks === 1 && first === 0, 'times from 0');
    return first;
  }

  const end = edit.start + Math.floor(edit.duration * scale);
  usual(edit.start === first, 'an edit that begins with the first frame');
  usual(
    times.every((time) => time < end),
    'an edit to the end',
  );
  // After a key frame that reaches the end of the edit, ffmpeg shows nothing more.
  const reaches = (time: number, index: number): boolean => time + (durations[index] as number) >= end;
  usual(
    !times.some((time, index) => index + 1 < times.length && isKey[index] === true && reaches(time, index)),
    'an edit to the end',
  );
  return first;
}

/** Goes over the units of a packet, each behind its length. */
async function judgePacket(
  read: ReadAt,
  offset: number,
  size: number,
  lengthBytes: number,
): Promise<H264Packet> {
  const firstBytes: number[] = [];
  for (let at = 0; at < size; ) {
    usual(at + lengthBytes < size, 'whole units');
    const head = await read(offset + at, lengthBytes + 1);
    const length = head.readUIntBE(0, lengthBytes);
    usual(length > 0 && at + lengthBytes + length <= size, 'whole units');
    firstBytes.push(head.readUInt8(lengthBytes));
    at += lengthBytes + length;
  }

  usual(firstBytes.length > 0, 'packets that are not empty');
  return judgeUnits(firstBytes);
}
