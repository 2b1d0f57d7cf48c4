/** Clips as MP4: frames drawn as the images are, encoded by ffmpeg. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import { CotsError } from '../../lib/errors.js';
import type { SpriteCache } from './artists.js';
import { type PlannedClip, shotSeconds, slotInMotion } from './clip-scene.js';
import type { SceneOptions } from './options.js';
import { type Box, drawSprite, plainImage } from './render.js';

/** Truth about one shot of a clip, as the manifest keeps it. */
export interface ShotTruth {
  readonly concept: string;
  readonly motion: string;
  readonly background: number;
  /** Seconds. */
  readonly start: number;
  readonly end: number;
  /** Boxes in its first and its last frame. */
  readonly boxes: readonly [Box, Box];
}

/** The frames of a clip, RGB; pushes to `truths` what each shot shows, once it is drawn. */
async function* drawFrames(
  clip: PlannedClip,
  options: SceneOptions,
  sprites: SpriteCache,
  truths: ShotTruth[],
): AsyncGenerator<Uint8Array> {
  const { clipSize: size, clipFps: fps } = options;
  const frames = Math.max(2, Math.round(shotSeconds * fps));
  for (const [number, { concept, motion, background }] of clip.shots.entries()) {
    const sprite = await sprites.get(clip.artist, concept.id);
    const boxes: Box[] = [];
    for (let i = 0; i < frames; i++) {
      const frame = plainImage(size, background);
      boxes.push(drawSprite(frame, size, sprite, slotInMotion(motion, i / (frames - 1), size)));
      yield frame;
    }
    const [start, end] = [(number * frames) / fps, ((number + 1) * frames) / fps];
    const ends: [Box, Box] = [boxes[0] as Box, boxes.at(-1) as Box];
    truths.push({ concept: concept.id, motion, background, start, end, boxes: ends });
  }
}

/** One encoder thread and no time stamps or version strings: the same frames give the same bytes. */
function encoderArguments({ clipSize, clipFps }: SceneOptions, file: string): string[] {
  const input = [
    '-f',
    'rawvideo',
    '-pix_fmt',
    'rgb24',
    '-s',
    `${clipSize}x${clipSize}`,
    '-r',
    String(clipFps),
    '-i',
    '-',
  ];
  const output = [
    '-c:v',
    'libx264',
    '-preset',
    'veryfast',
    '-crf',
    '20',
    '-pix_fmt',
    'yuv420p',
    '-threads',
    '1',
  ];
  const exact = [
    '-fflags',
    '+bitexact',
    '-flags:v',
    '+bitexact',
    '-map_metadata',
    '-1',
    '-movflags',
    '+faststart',
  ];
  return ['-hide_banner', '-loglevel', 'error', '-y', ...input, ...output, ...exact, file];
}

/**
 * Draws a clip and encodes it to `file` (H.264 in MP4).
 * Returns what is to be seen in it. Throws CotsError: ERR_COTS_INSTALL if ffmpeg does not start, ERR_COTS_VIDEO if it fails.
 */
export async function writeClip(
  clip: PlannedClip,
  file: string,
  options: SceneOptions,
  sprites: SpriteCache,
): Promise<ShotTruth[]> {
  const program = options.ffmpeg ?? 'ffmpeg';
  const encoder = spawn(program, encoderArguments(options, file), { stdio: ['pipe', 'ignore', 'pipe'] });
  let complaint = '';
  encoder.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const truths: ShotTruth[] = [];
  const [ended, fed] = await Promise.allSettled([
    once(encoder, 'close') as Promise<[code: number | null]>,
    pipeline(drawFrames(clip, options, sprites, truths), encoder.stdin),
  ]);
  if (ended.status === 'rejected') {
    const message = `Expected \`ffmpeg\` to name an ffmpeg that runs, got ${program}.`;
    throw new CotsError('ERR_COTS_INSTALL', message, { cause: ended.reason });
  }
  // A pipe that broke says less than the encoder that broke it; a drawing that failed has no code.
  if (fed.status === 'rejected' && fed.reason?.code === undefined) throw fed.reason;
  const [code] = ended.value;
  if (code !== 0 || fed.status === 'rejected') {
    const message = `ffmpeg could not write ${file} (exit code ${code}). ${complaint.trim()}`;
    throw new CotsError('ERR_COTS_VIDEO', message, {
      cause: fed.status === 'rejected' ? fed.reason : undefined,
    });
  }
  return truths;
}
