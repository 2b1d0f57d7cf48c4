// Step "native": the addon and the native tests, by cmake-js into build/Release. Ninja or make keeps track of the
// single files; the stamp only saves starting them, and it survives a move of the project's folder.

import { existsSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, totalmem } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive } from './lock.mjs';
import { readState, root, SetupError, writeAtomically, writeState } from './project.mjs';
import { run } from './run.mjs';
import { clearStamp, hashOf, isCurrent, listFiles, writeStamp } from './stamp.mjs';

const require = createRequire(join(root, 'package.json'));
const kBuilder = join(root, 'build', '.builder'); // holds the process id of the running cmake-js
const kBytesPerJob = 2e9; // a source with ATen headers takes about 1.5 GB to compile

/** Compilers at a time: every core, as far as memory goes. */
export const jobs = () =>
  Math.max(1, Math.min(availableParallelism(), Math.floor(totalmem() / kBytesPerJob)));

/** Every file that the native build reads. */
export function nativeInputs() {
  const isSource = (name) => /\.(cpp|cu|cuh|h|cmake)$/.test(name);
  return ['CMakeLists.txt', ...listFiles('native', isSource), ...listFiles('test/native', isSource)];
}

/** PATH with the folder of the ninja that set-up may have brought, which cmake looks up by name. */
export function buildEnvironment() {
  const maker = readState().tools?.maker?.path;
  return maker ? { PATH: [process.env.PATH, dirname(maker)].join(delimiter) } : {};
}

export async function buildNative(say) {
  const { libtorch } = readState();
  const outputs = [join(root, 'build/Release/cots.node')];
  if (existsSync(join(root, 'test/native'))) outputs.push(join(root, 'build/Release/cots_native_tests'));
  const headers = require('node-addon-api/package.json').version;
  const hash = hashOf(nativeInputs(), {
    libtorch: libtorch.folder,
    version: libtorch.version,
    headers,
    arch: process.arch,
  });
  const stamp = join(root, 'build', '.native-stamp');
  if (isCurrent(stamp, hash, outputs)) return { line: 'nothing to do', did: false };
  clearStamp(stamp);
  await waitForOrphan(say);
  forgetMovedBuild();
  say(`cmake-js, ${jobs()} compilers at a time ...`);
  const definitions = [`--CDCOTS_LIBTORCH=${libtorch.folder}`];
  await cmakeJs(['configure', ...definitions]);
  await cmakeJs(['build', '--parallel', String(jobs())]);
  writeStamp(stamp, hash);
  const [addon, tests = null] = outputs.map((path) => path.slice(root.length + 1));
  writeState({ native: { addon, tests, jobs: jobs() } });
  return { line: tests ? `${addon}, ${tests}` : addon, did: true };
}

async function cmakeJs(args) {
  const script = join(dirname(require.resolve('cmake-js/package.json')), 'bin/cmake-js');
  const all = [script, ...args, '--directory', root, '--out', join(root, 'build'), '--log-level', 'warn'];
  const started = (pid) => writeAtomically(kBuilder, String(pid));
  const { code } = await run(process.execPath, all, {
    cwd: root,
    env: buildEnvironment(),
    show: true,
    started,
  });
  rmSync(kBuilder, { force: true });
  if (code !== 0) {
    throw new SetupError(
      `The native build failed (cmake-js ${args[0]}, exit code ${code}); the compiler's words are above.`,
      [
        'If the words are "Killed" or "out of memory", close other programs and run set-up again: it goes on where it stopped.',
        'If they speak of CMakeCache, remove the folder build/ and run set-up again.',
      ],
    );
  }
}

/** A set-up that was killed outright may leave its compiler at work: two in one folder would spoil the build. */
async function waitForOrphan(say) {
  for (let told = false; orphanIsAlive(); told = true) {
    if (!told) say('a build that a killed set-up left behind is still at work: waiting for it');
    await sleep(300);
  }
}

function orphanIsAlive() {
  try {
    const pid = Number(readFileSync(kBuilder, 'utf8'));
    return isAlive(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(root);
  } catch {
    return false; // no such file, or no such process
  }
}

/** CMake refuses a build folder that was made for another source folder, or with a maker that is gone. */
function forgetMovedBuild() {
  const cache = join(root, 'build/CMakeCache.txt');
  if (!existsSync(cache)) return;
  const text = readFileSync(cache, 'utf8');
  const home = text.match(/^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m)?.[1];
  const maker = text.match(/^CMAKE_MAKE_PROGRAM:[A-Z]+=(.*)$/m)?.[1];
  if (home === root && maker && existsSync(maker)) return;
  for (const name of [
    'CMakeCache.txt',
    'CMakeFiles',
    'build.ninja',
    'Makefile',
    '.ninja_deps',
    '.ninja_log',
  ]) {
    rmSync(join(root, 'build', name), { recursive: true, force: true });
  }
}
