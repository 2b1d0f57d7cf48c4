// Step "tools": what must be installed on the machine. A missing tool is one line with the command that installs it.

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, readState, SetupError, writeState } from './project.mjs';
import { capture, findOnPath, isExecutable } from './run.mjs';
import { bringWheelFile } from './wheel.mjs';

const kTools = {
  python3: {
    names: ['python3', 'python'],
    args: ['-c', 'import pip, platform; print(f"{platform.python_version()} with pip {pip.__version__}")'],
    least: '3.8',
    missing: 'python3 is not installed',
    broken: 'python3 has no pip',
    install:
      'apt-get install -y python3 python3-pip   (or dnf install python3 python3-pip, brew install python)',
  },
  cmake: {
    names: ['cmake'],
    args: ['--version'],
    least: '3.21',
    missing: 'cmake is not installed',
    install:
      'apt-get install -y cmake   (or dnf install cmake, brew install cmake, python3 -m pip install cmake)',
  },
  'g++': {
    names: [process.env.CXX, 'c++', 'g++', 'clang++'].filter(Boolean),
    args: ['-dumpfullversion', '-dumpversion'],
    least: '11.0',
    missing: 'no C++ compiler (g++ or clang++) is installed',
    install: 'apt-get install -y g++   (or dnf install gcc-c++, xcode-select --install)',
  },
};

/** Checks every tool and tells all that is wrong at once. Returns one line for the report. */
export async function checkTools() {
  const known = readState().tools ?? {};
  const problems = checkNode();
  const tools = {};
  for (const [name, tool] of Object.entries(kTools)) {
    const found = probe(tool, known[name]);
    if (found.problem) problems.push(found.problem);
    else tools[name] = found;
  }
  if (problems.length > 0) throw new SetupError('This machine lacks what the build needs:', problems);
  tools.maker = await findMaker();
  writeState({ node: { version: process.versions.node, napi: process.versions.napi }, tools });
  const versions = Object.entries(kTools).map(([name]) => `${name} ${tools[name].version}`);
  return { line: `node ${process.versions.node}, ${versions.join(', ')}`, did: false };
}

function checkNode() {
  const problems = [];
  if (isOlder(process.versions.node, '20.17')) {
    problems.push(
      `Node ${process.versions.node} is too old, 20.17 or later is needed. Install it from nodejs.org or with nvm install 22`,
    );
  }
  if (!findOnPath('npm')) problems.push('npm is not installed. Install it: apt-get install -y npm');
  return problems;
}

/** A tool's path and version; what an earlier set-up found is believed while the same file is unchanged. */
function probe(tool, known) {
  const path = tool.names.map(findOnPath).find(Boolean);
  if (!path) return { problem: `${tool.missing}. Install it: ${tool.install}` };
  const { mtimeMs } = statSync(path);
  if (known?.path === path && known.mtimeMs === mtimeMs) return known;
  const said = capture(path, tool.args);
  const version = said?.match(/\d+(\.\d+)+.*/)?.[0] ?? said;
  if (!version) return { problem: `${tool.broken ?? `${path} does not run`}. Install it: ${tool.install}` };
  if (isOlder(version, tool.least)) {
    return {
      problem: `${path} is version ${version}, ${tool.least} or later is needed. Install it: ${tool.install}`,
    };
  }
  return { path, mtimeMs, version };
}

export function isOlder(version, least) {
  const [a, b] = [version, least].map((text) =>
    text.split('.').map((part) => Number.parseInt(part, 10) || 0),
  );
  for (let i = 0; i < b.length; i++) {
    if ((a[i] ?? 0) !== b[i]) return (a[i] ?? 0) < b[i];
  }
  return false;
}

/** ninja or make, which a machine with cmake and g++ alone may lack: then ninja from PyPI, into the cache. */
async function findMaker() {
  const installed = findOnPath('ninja') ?? findOnPath('make');
  if (installed) return { path: installed };
  const path = join(cacheFolder(), 'ninja-1.13', 'ninja');
  if (isExecutable(path)) return { path };
  const failure = await bringWheelFile({
    requirement: 'ninja==1.13.*',
    member: /\/scripts\/ninja$/,
    to: path,
  });
  if (failure)
    throw new SetupError('This machine lacks what the build needs:', [
      `neither ninja nor make is installed, and PyPI gave none (${failure}). Install it: apt-get install -y ninja-build`,
    ]);
  return { path };
}
