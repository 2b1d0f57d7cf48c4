/** The ffmpeg that video uses: COTS_FFMPEG, ffmpeg-static, PATH, then what set-up put into the cache (DESIGN 2.1). */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../binding.js';
import { CotsError } from '../errors.js';

export interface Ffmpeg {
  readonly path: string;
  readonly version: string;
  /** `COTS_FFMPEG`, `ffmpeg-static`, `PATH` or `set-up`. */
  readonly from: string;
}

const milliseconds = 10_000;

/** Remembered by the value of COTS_FFMPEG, which a program may set after it has begun. */
const found = new Map<string | undefined, Promise<Ffmpeg>>();

/** The first ffmpeg that runs, looked for once. Throws `ERR_COTS_INSTALL` when none does. */
export function requireFfmpeg(): Promise<Ffmpeg> {
  const named = process.env['COTS_FFMPEG'];
  const known = found.get(named);
  if (known !== undefined) return known;
  const looked = findFfmpeg().then((ffmpeg) => {
    if (ffmpeg !== undefined) return ffmpeg;
    const got = named === undefined ? 'none' : `COTS_FFMPEG=${named}, which is none`;
    throw new CotsError(
      'ERR_COTS_INSTALL',
      `Expected an ffmpeg that runs, as video needs one, got ${got}. ${ffmpegAdvice}`,
    );
  });
  found.set(named, looked);
  looked.catch(() => found.delete(named)); // it may be installed meanwhile
  return looked;
}

export const ffmpegAdvice =
  'Run `npm run setup` in the package folder, install it (apt-get install -y ffmpeg), or set COTS_FFMPEG to the path of one.';

/** The first that runs; undefined when none does. COTS_FFMPEG is the only candidate where it is set. */
export async function findFfmpeg(): Promise<Ffmpeg | undefined> {
  const named = process.env['COTS_FFMPEG'];
  const candidates: [string | undefined, string][] =
    named === undefined
      ? [
          [bundled(), 'ffmpeg-static'],
          ['ffmpeg', 'PATH'],
          [fromSetup(), 'set-up'],
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

/** The path that set-up noted in build/setup.json. */
function fromSetup(): string | undefined {
  try {
    const state = JSON.parse(readFileSync(path.join(packageRoot(), 'build', 'setup.json'), 'utf8')) as {
      ffmpeg?: { path?: unknown } | null;
    };
    return typeof state.ffmpeg?.path === 'string' ? state.ffmpeg.path : undefined;
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
