/** Runs scripts/setup.mjs as a user would, on a machine made of fake tools and folders. */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { packageRoot } from '../../lib/binding.js';

/** The folders of the real machine hold compilers too, so a fake PATH has only what its shell scripts need. */
const shellCommands = ['sh', 'cp', 'mkdir'];

export class FakeMachine {
  /** A new empty folder that holds all of this machine. */
  readonly folder = mkdtempSync(path.join(tmpdir(), 'cots-setup-'));
  /** A package folder with the real scripts and nothing to install. */
  readonly project = path.join(this.folder, 'project');
  readonly cache = path.join(this.folder, 'cache');
  readonly tools = path.join(this.folder, 'bin');

  constructor(t: ExecutionContext) {
    t.teardown(() => rmSync(this.folder, { recursive: true, force: true }));
    for (const folder of [this.project, this.cache, this.tools]) mkdirSync(folder);
    cpSync(path.join(packageRoot(), 'scripts'), path.join(this.project, 'scripts'), { recursive: true });
    this.write('project/package.json', '{ "name": "fake", "type": "module" }');
    for (const name of shellCommands) symlinkSync(which(name), path.join(this.tools, name));
    symlinkSync(process.execPath, path.join(this.tools, 'node'));
    this.tool('npm', 'exit 0');
    this.tool('cmake', 'echo cmake version 3.25.1');
    this.tool('ninja', 'exit 0');
    this.tool('c++', 'echo 12.2.0');
    this.tool('ffmpeg', 'echo ffmpeg version 6.0-fake');
    this.tool('ldd', 'echo "	libcudart.so.13 => not found"');
    this.python();
  }

  /** An executable on this machine's PATH, as the body of a shell script. */
  tool(name: string, body: string): void {
    const file = path.join(this.tools, name);
    writeFileSync(file, `#!/bin/sh\n${body}\n`);
    chmodSync(file, 0o755);
  }

  /** A python3 without torch; its pip fails at once, as without a network, unless `pip` says what it does. */
  python(pip = 'echo "ERROR: No matching distribution found" >&2; exit 1', torch = ''): void {
    this.tool(
      'python3',
      `case "$*" in
  *"import pip"*) echo "3.11.7 with pip 23.2.1" ;;
  *find_spec*) echo "${torch}" ;;
  *"pip download"*) ${pip} ;;
  *zipfile*) exec ${realPython()} "$@" ;;
esac`,
    );
  }

  remove(tool: string): void {
    rmSync(path.join(this.tools, tool));
  }

  write(file: string, text: string | Buffer): string {
    const target = path.join(this.folder, file);
    mkdirSync(path.dirname(target), { recursive: true });
    writeFileSync(target, text);
    return target;
  }

  /** The files by which set-up knows a libtorch; `libraries` replaces the contents of the shared objects. */
  libtorch(folder: string, version = '2.13.0+cpu', libraries: Record<string, Buffer> = {}): string {
    const files = {
      'libc10.so': wholeElf(),
      'libtorch_cpu.so': wholeElf(),
      'libtorch.so': wholeElf(),
      ...libraries,
    };
    for (const [name, bytes] of Object.entries(files)) this.write(`${folder}/lib/${name}`, bytes);
    for (const header of ['ATen/ATen.h', 'torch/library.h']) this.write(`${folder}/include/${header}`, '');
    this.write(`${folder}/version.py`, `__version__ = '${version}'\n`);
    return path.join(this.folder, folder);
  }

  /** Exit code and everything printed. */
  setUp(steps: string, env: Record<string, string> = {}): { code: number | null; output: string } {
    const child = spawnSync(
      process.execPath,
      [path.join(this.project, 'scripts/setup.mjs'), '--only', steps],
      {
        encoding: 'utf8',
        timeout: 30_000, // half of what a silent lock lives
        env: { PATH: this.tools, HOME: this.folder, COTS_CACHE: this.cache, ...env },
      },
    );
    return { code: child.status, output: child.stdout + child.stderr };
  }
}

/** An empty 64-bit ELF file whose section table is its header: whole by its own account. */
export function wholeElf(sectionTableAt = 0): Buffer {
  const bytes = Buffer.alloc(64);
  bytes.writeUInt32BE(0x7f454c46, 0);
  bytes.writeBigUInt64LE(BigInt(sectionTableAt), 0x28);
  bytes.writeUInt16LE(64, 0x3a);
  bytes.writeUInt16LE(1, 0x3c);
  return bytes;
}

const which = (name: string): string =>
  spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim();

const realPython = (): string =>
  spawnSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).stdout.trim();
