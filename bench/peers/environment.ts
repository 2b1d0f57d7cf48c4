/** The environments of the peers, of Python and of Node: made once in the cache folder, named by what they hold. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, copyFile, mkdir, readFile, rename, rm } from 'node:fs/promises';
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

/**
 * The Python of a group's environment, which the first call makes with `python3 -m venv` and pip (COTS_PYTHON names another Python).
 * COTS_PEERS=installed takes that Python as it is: on a machine without a network, or with a CUDA torch.
 */
export async function peerPython(group: PeerGroup): Promise<string> {
  const requirements = path.join(peersFolder, `requirements-${group}.txt`);
  const python = process.env['COTS_PYTHON'] ?? 'python3';
  if (process.env['COTS_PEERS'] === 'installed') return python;
  const { stdout: version } = await run(python, ['-VV']);
  const folder = await environment(
    `peers-${group}`,
    [version, await readFile(requirements)],
    async (beside) => {
      await run(python, ['-m', 'venv', beside]);
      const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirements];
      const own = path.join(beside, 'bin', 'python');
      await run(own, install).catch(() => run(own, [...install, '--extra-index-url', torchIndex]));
    },
  );
  return path.join(folder, 'bin', 'python');
}

/** The folder with the packages of `bench/peers/NAME/package-lock.json`, which the first call installs with npm; no script of theirs runs. */
export async function peerPackages(name: string): Promise<string> {
  const files = ['package.json', 'package-lock.json'].map((file) => path.join(peersFolder, name, file));
  const texts = await Promise.all(files.map((file) => readFile(file)));
  return environment(`peers-${name}`, texts, async (beside) => {
    await mkdir(beside);
    for (const file of files) await copyFile(file, path.join(beside, path.basename(file)));
    await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: beside });
  });
}

function cacheFolder(): string {
  const named = process.env['COTS_CACHE'];
  return named ? path.resolve(named) : path.join(homedir(), '.cache', 'cots');
}

/** A folder of the cache named by what it is made of. Made beside and renamed, so that a killed or a second run leaves no half of one. */
async function environment(
  name: string,
  madeOf: readonly (string | Buffer)[],
  make: (beside: string) => Promise<void>,
): Promise<string> {
  const hash = createHash('sha256');
  for (const part of madeOf) hash.update(part);
  const folder = path.join(cacheFolder(), `${name}-${hash.digest('hex').slice(0, 12)}`);
  if (await exists(folder)) return folder;
  const beside = `${folder}.${process.pid}`;
  console.error(`making ${folder} ...`);
  await mkdir(path.dirname(folder), { recursive: true });
  try {
    await make(beside);
    await rename(beside, folder).catch(async (error: NodeJS.ErrnoException) => {
      if (!(await exists(folder))) throw error; // else another run was first
    });
  } finally {
    await rm(beside, { recursive: true, force: true });
  }

  return folder;
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
