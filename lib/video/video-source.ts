/** Where ffmpeg finds a video: a file, or a member of a WebDataset shard; nothing else is ever opened. */
import type { BigIntStats } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { maxPixels } from '../data/decode.js';
import { localMedia, shardMember } from '../data/media.js';
import { VideoError } from '../errors.js';
import { fileError } from '../read-file.js';

export interface VideoSource {
  /** As the caller wrote it, for messages. */
  readonly name: string;
  /** ffmpeg's name of it. */
  readonly url: string;
  /** The file it lies in, and the bytes of it that are the video: [begin, end). */
  readonly file: string;
  readonly begin: number;
  readonly end: number;
  /** What tells that the file was written to since it was named. */
  readonly stamp: FileStamp;
}

interface FileStamp {
  readonly size: bigint;
  /** Nanoseconds. */
  readonly mtimeNs: bigint;
}

/** Containers that may be read. Playlists, scripts and pictures are left out: they name other files. */
const containers = [
  'mov,mp4,m4a,3gp,3g2,mj2',
  'matroska,webm',
  'avi',
  'gif',
  'apng',
  'mpegts',
  'mpeg',
  'mpegvideo',
  'flv',
  'asf',
  'ogg',
  'mxf',
  'nut',
  'rm',
  'ivf',
  'dv',
  'h264',
  'hevc',
  'obu',
  'yuv4mpegpipe',
].join(',');

/** A path, or `SHARD.tar!MEMBER`; a URL is copied first. Throws `ERR_COTS_VIDEO` for what is no regular file or empty, `ERR_COTS_FILE`, `ERR_COTS_DATA`. */
export async function videoSource(location: string): Promise<VideoSource> {
  const local = await localMedia(location);
  const member = await shardMember(local);
  if (member === undefined) return wholeFile(location, local);
  const { shard, offset, size } = member;
  if (size === 0) throw notAVideo(location, 'an empty one');
  return {
    name: location,
    url: `subfile,,start,${offset},end,${offset + size},,:file:${path.resolve(shard)}`,
    file: shard,
    begin: offset,
    end: offset + size,
    stamp: await statOf(shard),
  };
}

/** `file:` keeps a name with a colon from being taken for a protocol; an absolute path never begins with a dash. */
async function wholeFile(name: string, file: string): Promise<VideoSource> {
  const found = await statOf(file);
  if (found.isDirectory()) throw notAVideo(file, 'a folder');
  if (!found.isFile()) throw notAVideo(file, 'a pipe or device, which may never end');
  if (found.size === 0n) throw notAVideo(file, 'an empty one');
  return { name, url: `file:${path.resolve(file)}`, file, begin: 0, end: Number(found.size), stamp: found };
}

async function statOf(file: string): Promise<BigIntStats> {
  return stat(file, { bigint: true }).catch((error: unknown) => {
    throw fileError(error, 'read a video at', file);
  });
}

/**
 * Throws `ERR_COTS_VIDEO` where the file of a video was written to, replaced or taken away: what is read of it then may be of neither
 * state. Of what was read before, nothing is wrong where this returns.
 */
export async function refuseChanged({ name, file, stamp }: VideoSource): Promise<void> {
  const now = await stat(file, { bigint: true }).catch(() => undefined);
  if (now?.size === stamp.size && now.mtimeNs === stamp.mtimeNs) return;
  const got = now === undefined ? 'it is gone' : 'it was changed';
  throw new VideoError(
    `Expected ${name} to stay as it was while it is read, ${got}. Read it again when it is whole.`,
  );
}

function notAVideo(file: string, got: string): VideoError {
  return new VideoError(`Expected ${file} to be a video file, got ${got}. Name a regular file.`);
}

/** How every run of ffmpeg for one video begins. `before` are further options of the input. */
export function inputArguments(source: VideoSource, before: readonly string[] = []): string[] {
  return [...runArguments('info'), ...openArguments(source, before)];
}

/** What every run of ffmpeg begins with; it says what is of a level or worse. */
export function runArguments(level: 'info' | 'error'): string[] {
  return ['-hide_banner', '-nostdin', '-nostats', '-loglevel', `level+${level}`];
}

/** How every run of ffmpeg opens a video. `before` are further options of the input. */
export function openArguments({ url }: VideoSource, before: readonly string[] = []): string[] {
  return [
    ...['-protocol_whitelist', 'file,subfile', '-format_whitelist', containers],
    ...['-max_pixels', String(maxPixels), ...before, '-i', url],
  ];
}
