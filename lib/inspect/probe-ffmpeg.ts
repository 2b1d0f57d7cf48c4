/** The ffmpeg that video would use: COTS_FFMPEG, ffmpeg-static, PATH, then what set-up found (DESIGN 2.1). */
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../binding.js';

export interface Ffmpeg {
  readonly path: string;
  readonly version: string;
  readonly from: string;
}

const milliseconds = 10_000;

/** The first that runs; undefined when none does. `cached` is the path that set-up noted. */
export async function probeFfmpeg(cached: string | undefined): Promise<Ffmpeg | undefined> {
  const named = process.env['COTS_FFMPEG'];
  const candidates: [string | undefined, string][] =
    named === undefined
      ? [
          [bundled(), 'ffmpeg-static'],
          ['ffmpeg', 'PATH'],
          [cached, 'set-up'],
        ]
      : [[named, 'COTS_FFMPEG']];
  for (const [file, from] of candidates) {
    const version = file === undefined ? undefined : await versionOf(file);
    if (file !== undefined && version !== undefined) return { path: file, version, from };
  }

  return undefined;
}

function bundled(): string | undefined {
  try {
    const file: unknown = createRequire(path.join(packageRoot(), 'package.json'))('ffmpeg-static');
    return typeof file === 'string' ? file : undefined;
  } catch {
    return undefined;
  }
}

async function versionOf(file: string): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(file, ['-version'], { timeout: milliseconds });
    return /^ffmpeg version (\S+)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}
