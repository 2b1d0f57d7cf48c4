/** Clips as MP4: frames drawn as the images are, encoded by ffmpeg. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
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

type FrameSink = (frame: Uint8Array) => Promise<void>;

async function drawFrames(
  clip: PlannedClip,
  options: SceneOptions,
  sprites: SpriteCache,
  sink: FrameSink,
): Promise<ShotTruth[]> {
  const { clipSize: size, clipFps: fps } = options;
  const frames = Math.max(2, Math.round(shotSeconds * fps));
  const truths: ShotTruth[] = [];
  for (const [number, { concept, motion, background }] of clip.shots.entries()) {
    const sprite = await sprites.get(clip.artist, concept.id);
    const boxes: Box[] = [];
    for (let i = 0; i < frames; i++) {
      const frame = plainImage(size, background);
      boxes.push(drawSprite(frame, size, sprite, slotInMotion(motion, i / (frames - 1), size)));
      await sink(frame);
    }
    const [start, end] = [(number * frames) / fps, ((number + 1) * frames) / fps];
    truths.push({
      concept: concept.id,
      motion,
      background,
      start,
      end,
      boxes: [boxes[0] as Box, boxes.at(-1) as Box],
    });
  }
  return truths;
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
  const encoder = spawn(options.ffmpeg ?? 'ffmpeg', encoderArguments(options, file), {
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  const ended = once(encoder, 'close') as Promise<[code: number | null]>;
  ended.catch(() => {}); // Awaited below; a program that does not start must not reject unseen meanwhile.
  let complaint = '';
  encoder.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  encoder.stdin.on('error', () => {}); // An encoder that died early is reported by its exit code.
  try {
    const truths = await drawFrames(clip, options, sprites, async (frame) => {
      if (!encoder.stdin.write(frame)) await Promise.race([once(encoder.stdin, 'drain'), ended]);
    });
    encoder.stdin.end();
    const [code] = await ended;
    if (code !== 0)
      throw new CotsError(
        'ERR_COTS_VIDEO',
        `ffmpeg could not write ${file} (exit code ${code}): ${complaint.trim()}`,
      );
    return truths;
  } catch (error) {
    encoder.kill();
    if (error instanceof Error && 'syscall' in error && String(error.syscall).startsWith('spawn')) {
      throw new CotsError(
        'ERR_COTS_INSTALL',
        `Expected option "ffmpeg" to name an ffmpeg that runs, got ${options.ffmpeg}.`,
        { cause: error },
      );
    }
    throw error;
  }
}
