/**
 * Made clips that cost a decoder what a film does: shots of 2 to 5 seconds, each a camera moving over a made photograph with the grain of a
 * film, by x264 with its own defaults (GOP of 250, cuts found by itself, B-frames). The grain is set so that a second of 320 x 240 takes
 * about 300 kbit, as MSR-VTT's clips do (41 hours in 6.3 GB, with sound).
 */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { requireFfmpeg } from '../video/find-ffmpeg.js';
import { photographJpeg } from './photograph.js';
import { uniform } from './synthetic.js';

export interface ClipSize {
  readonly width: number;
  readonly height: number;
  /** Frames a second. */
  readonly rate: number;
  readonly seconds: number;
}

/** Writes `NAME.mp4` into a folder, and the photographs it is made of; the seed decides the pictures. Returns the clip's path. */
export async function makeFilm(folder: string, name: string, size: ClipSize, seed: number): Promise<string> {
  const random = uniform(seed);
  const inputs: string[] = [];
  const chains: string[] = [];
  for (let left = size.seconds; left > 1e-6; ) {
    const seconds = Math.min(left, 2 + 3 * random());
    const shot = chains.length;
    const photograph = path.join(folder, `${name}-${shot}.jpg`);
    await writeFile(
      photograph,
      await photographJpeg({ width: 2 * size.width, height: 2 * size.height }, seed + shot),
    );
    inputs.push('-loop', '1', '-framerate', String(size.rate), '-t', String(seconds), '-i', photograph);
    chains.push(`[${shot}]${cameraMove(size, seconds, random)}[s${shot}]`);
    left -= seconds;
  }

  const joined = `${chains.map((_, shot) => `[s${shot}]`).join('')}concat=n=${chains.length}`;
  const file = path.join(folder, `${name}.mp4`);
  const { path: ffmpeg } = await requireFfmpeg();
  await promisify(execFile)(ffmpeg, [
    ...['-hide_banner', '-nostdin', '-v', 'error', '-y', ...inputs],
    ...['-filter_complex', [...chains, joined].join(';'), '-c:v', 'libx264', '-pix_fmt', 'yuv420p', file],
  ]);
  return file;
}

/** A window that glides from one place of a picture of twice the size to another. */
function cameraMove({ width, height }: ClipSize, seconds: number, random: () => number): string {
  const glide = (room: number): string => {
    const [from, to] = [room * random(), room * random()];
    return `'${from.toFixed(1)}+(${(to - from).toFixed(1)})*t/${seconds.toFixed(3)}'`;
  };
  return `crop=${width}:${height}:x=${glide(width)}:y=${glide(height)},noise=alls=6:allf=t,setsar=1`;
}
