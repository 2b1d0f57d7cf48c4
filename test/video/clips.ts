/** Clips made by ffmpeg for a test, and what ffmpeg alone makes of them. */
import { execFile } from 'node:child_process';
import { chmod, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { requireFfmpeg } from '../../lib/video/find-ffmpeg.js';

/** Runs ffmpeg; its stdout. */
export async function ffmpeg(...args: readonly string[]): Promise<Buffer> {
  const { path: file } = await requireFfmpeg();
  const all = ['-hide_banner', '-nostdin', '-v', 'error', '-y', ...args];
  const { stdout } = await promisify(execFile)(file, all, { encoding: 'buffer', maxBuffer: 2 ** 28 });
  return stdout;
}

/** A clip of moving patterns under noise. `output` are the encoder's options, split at blanks. */
export async function makeClip(
  file: string,
  output: string,
  { size = '66x50', seconds = 2, rate = 25, filters = '' } = {},
): Promise<string> {
  const source = `testsrc2=size=${size}:rate=${rate}:duration=${seconds},noise=alls=8:allf=t${filters}`;
  await ffmpeg('-f', 'lavfi', '-i', source, ...output.split(' '), file);
  return file;
}

/** All frames as RGB by a plain run of ffmpeg. */
export async function plainFrames(file: string, bytes: number): Promise<Buffer[]> {
  const all = await ffmpeg(
    ...['-i', file, '-map', '0:V:0', '-fps_mode', 'passthrough', '-pix_fmt', 'rgb24', '-f', 'rawvideo', '-'],
  );
  return Array.from({ length: all.length / bytes }, (_, index) =>
    all.subarray(index * bytes, (index + 1) * bytes),
  );
}

/** A program that stands in for ffmpeg: `-version` answers as ffmpeg does, everything else runs `script`. */
export async function fakeFfmpeg(folder: string, script: string): Promise<string> {
  const file = path.join(folder, 'ffmpeg');
  await writeFile(
    file,
    `#!/bin/sh\nif [ "$1" = -version ]; then echo 'ffmpeg version 9.0-fake'; exit 0; fi\n${script}\n`,
  );
  await chmod(file, 0o755);
  return file;
}

/** Sets COTS_FFMPEG for the rest of the test. */
export function useFfmpeg(t: ExecutionContext, file: string): void {
  const before = process.env['COTS_FFMPEG'];
  process.env['COTS_FFMPEG'] = file;
  t.teardown(() => {
    if (before === undefined) delete process.env['COTS_FFMPEG'];
    else process.env['COTS_FFMPEG'] = before;
  });
}

/** Processes that this one has started and that are still there, zombies too. */
export async function childProcesses(): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
    if (Number(/\) \S (\d+)/.exec(stat)?.[1]) === process.pid) found.push(Number(name));
  }

  return found;
}
