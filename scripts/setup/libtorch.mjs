// Step "libtorch": finds the libtorch to build against, or brings one pinned CPU wheel. Every way is named with
// what came of it, so that a machine where none worked tells its owner what to do.

import { existsSync, mkdirSync, realpathSync, renameSync, rmSync, statfsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { inspectLibtorch } from './libtorch-check.mjs';
import { cacheFolder, readState, SetupError, writeState } from './project.mjs';
import { capture } from './run.mjs';
import {
  downloadWheel,
  python,
  removeLeftovers,
  temporaryFolder,
  unpackWheel,
  wheelProblem,
} from './wheel.mjs';

const kVersion = '2.13.0';
export const kWheel = {
  requirement: `torch==${kVersion}+cpu`,
  file: `torch-${kVersion}+cpu-cp311-cp311-manylinux_2_28_x86_64.whl`,
  sha256: '6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b',
  tags: [
    '--implementation',
    'cp',
    '--python-version',
    '3.11',
    '--abi',
    'cp311',
    '--platform',
    'manylinux_2_28_x86_64',
  ],
};
const kPublicIndex = 'https://download.pytorch.org/whl/cpu';
const kFreeBytes = 1.0e9; // wheel of 0.19 GB and 0.51 GB unpacked
const kMembers =
  /^torch\/(include|lib|share)\/|^torch\/version\.py$|\.dist-info\/(licenses\/)?(LICENSE|NOTICE)$/;

/** Returns the line for the report; the folder goes to build/setup.json. Throws SetupError when every way failed. */
export async function findLibtorch(say) {
  removeLeftovers();
  const ways = [];
  const note = (way, outcome) => ways.push(`${way}: ${outcome}`);
  const found = fromVariable(note) ?? fromCache(note) ?? fromPython(note) ?? (await fromWheel(note, say));
  if (!found)
    throw new SetupError('No libtorch was found, and none could be brought:', [...ways, ...advice()]);
  const libtorch = {
    folder: realpathSync(found.folder),
    version: found.version,
    cuda: found.cuda,
    from: found.from,
  };
  const did = readState().libtorch?.folder !== libtorch.folder;
  writeState({ libtorch: { ...libtorch, ways } });
  const kind = libtorch.cuda ? 'CUDA' : 'CPU';
  return {
    line: `${libtorch.version} (${kind}) in ${libtorch.folder}`,
    details: ways,
    did: did || found.from === 'wheel',
  };
}

/** What the owner of a machine without network, or with an odd one, can do. */
function advice() {
  return [
    `what to do: make ${kWheel.requirement} reachable for pip (python3 -m pip config list), and run set-up again;`,
    `  or put ${kWheel.file} into ${join(cacheFolder(), 'wheels')};`,
    '  or set COTS_LIBTORCH to the folder of a libtorch (the one with include/ and lib/).',
  ];
}

/** COTS_LIBTORCH is an order: a wrong one ends set-up rather than being passed over. */
function fromVariable(note) {
  const named = process.env.COTS_LIBTORCH;
  if (!named) return void note('COTS_LIBTORCH', 'not set');
  const folder = resolve(named);
  const { problem, ...facts } = inspectLibtorch(folder);
  if (problem) {
    throw new SetupError(`COTS_LIBTORCH cannot be used: ${problem}.`, [
      'Set it to the folder of a libtorch (the one with include/ and lib/), or unset it: set-up then looks in the cache and in Python, and else brings one.',
    ]);
  }
  note('COTS_LIBTORCH', `used: ${folder}`);
  return { folder, ...facts, from: 'COTS_LIBTORCH' };
}

const cachedFolder = () => join(cacheFolder(), `libtorch-${kVersion}`);

function fromCache(note) {
  const folder = cachedFolder();
  if (!existsSync(folder)) return void note('cache', `no ${folder}`);
  const { problem, ...facts } = inspectLibtorch(folder);
  if (problem) return void note('cache', `refused: ${problem}`);
  if (facts.cuda)
    return void note('cache', `refused: ${folder} holds libtorch_cuda.so, and the cache is for CPU builds`);
  note('cache', `used: ${folder}`);
  return { folder, ...facts, from: 'cache' };
}

function fromPython(note) {
  const question =
    'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")';
  const folder = capture(python(), ['-c', question]);
  if (!folder) return void note('Python', `${python()} has no torch installed`);
  const { problem, ...facts } = inspectLibtorch(folder);
  if (problem) return void note('Python', `refused: ${problem}`);
  note('Python', `used: ${folder}`);
  return { folder, ...facts, from: 'python' };
}

async function fromWheel(note, say) {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return void note('wheel', `none is pinned for ${process.platform} ${process.arch}`);
  }
  mkdirSync(cacheFolder(), { recursive: true });
  const disk = statfsSync(cacheFolder());
  if (disk.bavail * disk.bsize < kFreeBytes) {
    return void note(
      'wheel',
      `${cacheFolder()} has less than ${kFreeBytes / 1e9} GB free; COTS_CACHE moves the cache`,
    );
  }
  const temporary = temporaryFolder('libtorch');
  try {
    const wheel = placedWheel(note) ?? (await download(temporary, note, say));
    return wheel && (await unpack(wheel, temporary, note, say));
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }

  /** A wheel that someone put into the cache's wheels folder, for machines without network. */
  function placedWheel() {
    const file = join(cacheFolder(), 'wheels', kWheel.file);
    return existsSync(file) ? { file, way: `wheel ${file}` } : void note('wheel in the cache', `no ${file}`);
  }
}

async function download(temporary, note, say) {
  const tries = [
    { way: 'pip with your own configuration', pipArgs: kWheel.tags },
    { way: `pip with ${kPublicIndex}`, pipArgs: [...kWheel.tags, '--index-url', kPublicIndex] },
  ];
  for (const [index, { way, pipArgs }] of tries.entries()) {
    say(`bringing ${kWheel.requirement} (190 MB), ${way} ...`);
    const folder = join(temporary, `try-${index}`);
    mkdirSync(folder);
    const { wheel, failure } = await downloadWheel({ requirement: kWheel.requirement, folder, pipArgs });
    const problem = failure ?? (await wheelProblem(wheel, kWheel.sha256));
    if (!problem) return { file: wheel, way, checked: true };
    note(way, failure ? problem : `refused: ${problem}`);
  }
  return undefined;
}

async function unpack({ file, way, checked }, temporary, note, say) {
  const problem = checked ? undefined : await wheelProblem(file, kWheel.sha256);
  if (problem) return void note(way, `refused: ${problem}. Remove it or replace it.`);
  say('unpacking libtorch ...');
  const folder = join(temporary, 'libtorch');
  const torn = await unpackWheel(file, folder, kMembers, 1);
  if (torn) return void note(way, `does not unpack: ${torn}`);
  const inspected = inspectLibtorch(folder);
  if (inspected.problem) return void note(way, `refused after unpacking: ${inspected.problem}`);
  moveIntoPlace(folder, cachedFolder());
  note(way, `used: unpacked to ${cachedFolder()}`);
  return { folder: cachedFolder(), ...inspectLibtorch(cachedFolder()), from: 'wheel' };
}

/** Another set-up may have finished first: its good folder stays, a refused one makes way. */
function moveIntoPlace(folder, target) {
  if (existsSync(target)) {
    const { problem, cuda } = inspectLibtorch(target);
    if (!problem && !cuda) return;
    const aside = temporaryFolder('refused');
    renameSync(target, join(aside, 'libtorch'));
    rmSync(aside, { recursive: true, force: true });
  }
  try {
    renameSync(folder, target);
  } catch (error) {
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
  }
}
