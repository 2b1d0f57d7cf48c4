// Is this folder a libtorch that cots can be built against? Looks at files only, loads nothing.

import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { capture } from './run.mjs';
import { isOlder } from './tools.mjs';

const kNeeded = [
  'include/ATen/ATen.h',
  'include/torch/library.h',
  'lib/libc10.so',
  'lib/libtorch_cpu.so',
  'lib/libtorch.so',
];
const kCudaLibraries = ['lib/libc10_cuda.so', 'lib/libtorch_cuda.so'];

/** `{ version, cuda }` of a usable libtorch (cuda: true or false), or `{ problem }` in one sentence. */
export function inspectLibtorch(folder) {
  if (!existsSync(folder)) return { problem: `there is no folder ${folder}` };
  const version = readVersion(folder);
  const cuda = existsSync(join(folder, 'lib/libtorch_cuda.so'));
  const problem =
    missingOrTorn(folder, cuda) ??
    versionProblem(folder, version, cuda) ??
    (cuda ? unresolvedLibraries(folder) : undefined);
  return problem ? { problem } : { version, cuda };
}

function missingOrTorn(folder, cuda) {
  for (const file of cuda ? [...kNeeded, ...kCudaLibraries] : kNeeded) {
    const path = join(folder, file);
    if (!existsSync(path)) return `${folder} is no libtorch: ${file} is missing`;
    if (file.endsWith('.so') && isTorn(path))
      return `${path} is torn: the file ends before its own section table`;
  }
  return undefined;
}

function versionProblem(folder, version, cuda) {
  if (!version) return `${folder} does not tell its version (no version.py, no build-version, no version.h)`;
  if (cuda && /\+cpu/.test(version)) {
    return `${folder} calls itself a CPU build (${version}) but holds libtorch_cuda.so: it is mixed from two builds`;
  }
  if (isOlder(version, '2.11') || !isOlder(version, '2.14') || (!cuda && isOlder(version, '2.13'))) {
    return `${folder} is version ${version}; needed is 2.13 on a CPU, or 2.11 to 2.13 with CUDA`;
  }
  return undefined;
}

/** A plain `pip install torch` is a CUDA build on most machines, whose CUDA libraries are not there. */
function unresolvedLibraries(folder) {
  const said = capture('ldd', [join(folder, 'lib/libtorch_cuda.so')]);
  if (said === undefined)
    return `${folder} is a CUDA build (it holds libtorch_cuda.so) and ldd cannot check it`;
  const absent = [...said.matchAll(/^\s*(\S+) => not found/gm)].map((match) => match[1]);
  if (absent.length === 0) return undefined;
  return `${folder} is a CUDA build (it holds libtorch_cuda.so) and this machine lacks its ${[...new Set(absent)].slice(0, 3).join(', ')}`;
}

/** The version with its build tag where one is told: "2.13.0+cpu". */
function readVersion(folder) {
  const read = (file) => (existsSync(join(folder, file)) ? readFileSync(join(folder, file), 'utf8') : '');
  const told = read('version.py').match(/__version__ = '([^']+)'/)?.[1] ?? read('build-version').trim();
  if (told) return told;
  const header = read('include/torch/headeronly/version.h') || read('include/torch/version.h');
  const parts = ['MAJOR', 'MINOR', 'PATCH'].map(
    (part) => header.match(new RegExp(`TORCH_VERSION_${part} (\\d+)`))?.[1],
  );
  return parts.every(Boolean) ? parts.join('.') : undefined;
}

/** An ELF file's section table is its end: a file cut short lacks it. */
export function isTorn(path) {
  const handle = openSync(path, 'r');
  try {
    const header = Buffer.alloc(64);
    if (readSync(handle, header, 0, 64, 0) < 64) return true;
    if (header.readUInt32BE(0) !== 0x7f454c46) return process.platform === 'linux';
    const tableEnd =
      Number(header.readBigUInt64LE(0x28)) + header.readUInt16LE(0x3a) * header.readUInt16LE(0x3c);
    return fstatSync(handle).size < tableEnd;
  } finally {
    closeSync(handle);
  }
}
