// Step "ffmpeg": COTS_FFMPEG, the optional package ffmpeg-static, PATH, the cache; else the static binary of the
// PyPI wheel imageio-ffmpeg, unpacked into the cache. Only video needs it: its absence is a warning here.

import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { cacheFolder, readState, root, SetupError, writeState } from './project.mjs';
import { capture, findOnPath, isExecutable } from './run.mjs';
import { bringWheelFile } from './wheel.mjs';

const kVersion = '0.8.1';
const kWheelSha256 = '050d6850601c3b3890bd2b28306f3b842b3daea390a561101174375a1c460bda'; // linux x64
const cachedFile = () => join(cacheFolder(), `ffmpeg-imageio-${kVersion}`, 'ffmpeg');

export async function findFfmpeg(say) {
  const known = readState().ffmpeg;
  const found = firstUsable(known) ?? (await bring(say));
  writeState({ ffmpeg: found.path ? found : null });
  if (!found.path) return { line: `WARNING: none found, video will not work (${found.failure})`, did: false };
  return { line: `${found.version} at ${found.path} (${found.from})`, did: found.path !== known?.path };
}

function firstUsable(known) {
  const named = process.env.COTS_FFMPEG;
  if (named) {
    const found = probe({ path: resolve(named), from: 'COTS_FFMPEG' }, known);
    if (found) return found;
    throw new SetupError(`COTS_FFMPEG cannot be used: ${resolve(named)} is no ffmpeg that runs.`, [
      'Set it to the path of an ffmpeg, or unset it: set-up then looks elsewhere, and else brings one.',
    ]);
  }
  const candidates = [
    { path: ffmpegStatic(), from: 'ffmpeg-static' },
    { path: findOnPath('ffmpeg'), from: 'PATH' },
    { path: cachedFile(), from: 'cache' },
  ];
  for (const candidate of candidates) {
    const found = candidate.path && probe(candidate, known);
    if (found) return found;
  }
  return undefined;
}

/** The package may be there without its binary: its install script downloads, and npm may not run it. */
function ffmpegStatic() {
  try {
    const require = createRequire(join(root, 'package.json'));
    return require('ffmpeg-static') ?? undefined;
  } catch {
    return undefined;
  }
}

/** Runs it once; what an earlier set-up saw is believed while the same file is unchanged. */
function probe({ path, from }, known) {
  if (!isExecutable(path)) return undefined;
  const { mtimeMs } = statSync(path);
  if (known?.path === path && known.mtimeMs === mtimeMs && known.from === from) return known;
  const version = capture(path, ['-version'])?.match(/^ffmpeg version (\S+)/)?.[1];
  return version ? { path, mtimeMs, version, from } : undefined;
}

async function bring(say) {
  say(`bringing imageio-ffmpeg ${kVersion} (68 MB) ...`);
  const failure = await bringWheelFile({
    requirement: `imageio-ffmpeg==${kVersion}`,
    member: /\/binaries\/ffmpeg-/,
    to: cachedFile(),
    sha256: process.platform === 'linux' && process.arch === 'x64' ? kWheelSha256 : undefined,
  });
  if (failure) return { failure: `${failure}. Install one (apt-get install -y ffmpeg) or set COTS_FFMPEG` };
  return probe({ path: cachedFile(), from: 'cache' }) ?? { failure: `${cachedFile()} does not run` };
}
