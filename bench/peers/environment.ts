/** The Python environments of the peers: made once in the cache folder, named by what they hold. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../../lib/binding.js';

const run = promisify(execFile);

/** Where `torch==...+cpu` is when the user's own pip configuration does not know it. */
const torchIndex = 'https://download.pytorch.org/whl/cpu';

/** Groups of peers: `requirements-GROUP.txt`. */
export type PeerGroup = 'data' | 'video' | 'search' | 'model';

/** Folder of the peers' Python files. */
export const peersFolder = path.join(packageRoot(), 'bench', 'peers');

/** The Python of a group's environment, which the first call makes with `python3 -m venv` and pip (COTS_PYTHON names another Python). */
export async function peerPython(group: PeerGroup): Promise<string> {
  const requirements = path.join(peersFolder, `requirements-${group}.txt`);
  const python = process.env['COTS_PYTHON'] ?? 'python3';
  const { stdout: version } = await run(python, ['-VV']);
  const hash = createHash('sha256')
    .update(version)
    .update(await readFile(requirements))
    .digest('hex')
    .slice(0, 12);
  const folder = path.join(cacheFolder(), `peers-${group}-${hash}`);
  if (!(await exists(folder))) await makeEnvironment(python, requirements, folder);
  return path.join(folder, 'bin', 'python');
}

function cacheFolder(): string {
  const named = process.env['COTS_CACHE'];
  return named ? path.resolve(named) : path.join(homedir(), '.cache', 'cots');
}

/** Made beside and renamed, so that a killed or a second run leaves no half of one. */
async function makeEnvironment(python: string, requirements: string, folder: string): Promise<void> {
  const beside = `${folder}.${process.pid}`;
  console.error(`making ${folder} from ${path.basename(requirements)} ...`);
  await mkdir(path.dirname(folder), { recursive: true });
  try {
    await run(python, ['-m', 'venv', beside]);
    const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirements];
    const own = path.join(beside, 'bin', 'python');
    await run(own, install).catch(() => run(own, [...install, '--extra-index-url', torchIndex]));
    await rename(beside, folder).catch(async (error: NodeJS.ErrnoException) => {
      if (!(await exists(folder))) throw error; // else another run was first
    });
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
