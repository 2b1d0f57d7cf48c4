import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { FakeMachine, wholeElf } from './fake-machine.js';

const wheelName = 'torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl';
const tornElf = wholeElf(1 << 20); // its section table would lie 1 MiB behind its end

test('COTS_LIBTORCH is used first', (t) => {
  const machine = new FakeMachine(t);
  const folder = machine.libtorch('mine');
  machine.libtorch('cache/libtorch-2.13.0');
  const { code, output } = machine.setUp('libtorch', { COTS_LIBTORCH: folder });
  t.is(code, 0, output);
  t.true(output.includes(`COTS_LIBTORCH: used: ${folder}`));
});

test('a wrong COTS_LIBTORCH stops set-up, although the cache has a good one', (t) => {
  const machine = new FakeMachine(t);
  machine.libtorch('cache/libtorch-2.13.0');
  const { code, output } = machine.setUp('libtorch', { COTS_LIBTORCH: path.join(machine.folder, 'nowhere') });
  t.is(code, 1);
  t.regex(output, /COTS_LIBTORCH cannot be used: there is no folder .*nowhere/);
  t.regex(output, /or unset it/);
});

test('the cache is used when COTS_LIBTORCH is not set, and what was found is written down', (t) => {
  const machine = new FakeMachine(t);
  const folder = machine.libtorch('cache/libtorch-2.13.0');
  const { code, output } = machine.setUp('libtorch');
  t.is(code, 0, output);
  t.regex(output, /COTS_LIBTORCH: not set/);
  const { libtorch } = JSON.parse(readFileSync(path.join(machine.project, 'build/setup.json'), 'utf8'));
  t.like(libtorch, { folder, version: '2.13.0+cpu', cuda: false, from: 'cache' });
});

test('a libtorch in Python is used when the cache has none', (t) => {
  const machine = new FakeMachine(t);
  const folder = machine.libtorch('site/torch');
  machine.python(undefined, folder);
  const { code, output } = machine.setUp('libtorch');
  t.is(code, 0, output);
  t.true(output.includes(`Python: used: ${folder}`));
});

const refused = test.macro({
  exec(t, version: string, libraries: Record<string, Buffer>, expected: RegExp) {
    const machine = new FakeMachine(t);
    machine.libtorch('cache/libtorch-2.13.0', version, libraries);
    const { code, output } = machine.setUp('libtorch');
    t.is(code, 1);
    t.regex(output, expected);
  },
  title: (name) => `the cached libtorch is refused: ${name}`,
});

const cudaLibraries = { 'libtorch_cuda.so': wholeElf(), 'libc10_cuda.so': wholeElf() };
test(
  'a library is torn',
  refused,
  '2.13.0+cpu',
  { 'libtorch_cpu.so': tornElf },
  /cache: refused: .*libtorch_cpu\.so is torn/,
);
test(
  'a CPU build that holds libtorch_cuda.so',
  refused,
  '2.13.0+cpu',
  cudaLibraries,
  /calls itself a CPU build .* holds libtorch_cuda/,
);
test(
  'a CUDA build without its libraries',
  refused,
  '2.13.0',
  cudaLibraries,
  /a CUDA build .* lacks its libcudart\.so\.13/,
);
test(
  'a CPU build of another version',
  refused,
  '2.12.1+cpu',
  {},
  /is version 2\.12\.1\+cpu; needed is 2\.13 on a CPU/,
);

test('a whole CUDA build in the cache is refused too: the cache is for CPU builds', (t) => {
  const machine = new FakeMachine(t);
  machine.tool('ldd', 'echo "	libcudart.so.13 => /lib/libcudart.so.13"');
  const folder = machine.libtorch('cache/libtorch-2.13.0', '2.13.0+cu130', cudaLibraries);
  t.regex(machine.setUp('libtorch').output, /cache: refused: .* the cache is for CPU builds/);
  t.is(machine.setUp('libtorch', { COTS_LIBTORCH: folder }).code, 0);
});

test('a torn wheel in the cache is refused', (t) => {
  const machine = new FakeMachine(t);
  machine.write(`cache/wheels/${wheelName}`, Buffer.from('PK\u0003\u0004 half a wheel'));
  const { code, output } = machine.setUp('libtorch');
  t.is(code, 1);
  t.regex(
    output,
    /wheel .*cache\/wheels\/torch-.*: refused: it is torn: 17 bytes that are no whole zip file/,
  );
  t.false(existsSync(path.join(machine.cache, 'libtorch-2.13.0')));
});

test('a whole wheel that is not the pinned one is refused', (t) => {
  const machine = new FakeMachine(t);
  const emptyZip = Buffer.concat([Buffer.from('PK\u0005\u0006'), Buffer.alloc(18)]);
  machine.write(`cache/wheels/${wheelName}`, emptyZip);
  const { code, output } = machine.setUp('libtorch');
  t.is(code, 1);
  t.regex(
    output,
    /refused: it is another file than the pinned one \(SHA-256 8739c76e[0-9a-f]+, expected 6746dbcb/,
  );
});

test('a wheel that pip brings is checked in the same way, from either index, and nothing is left behind', (t) => {
  const machine = new FakeMachine(t);
  const source = machine.write('source.whl', 'not a wheel');
  machine.python(`while [ "$1" != "-d" ]; do shift; done; cp ${source} "$2/${wheelName}"`);
  const { code, output } = machine.setUp('libtorch');
  t.is(code, 1);
  t.is(output.match(/: refused: it is torn/g)?.length, 2);
  t.deepEqual(readdirSync(machine.cache), []);
});

test('when every way failed, each is named with what to do', (t) => {
  const machine = new FakeMachine(t);
  const { code, output } = machine.setUp('libtorch');
  t.is(code, 1);
  for (const way of [
    /COTS_LIBTORCH: not set/,
    /cache: no .*libtorch-2\.13\.0/,
    /Python: .* has no torch installed/,
    /wheel in the cache: no .*\.whl/,
    /pip with your own configuration: pip download torch==2\.13\.0\+cpu: ERROR: No matching distribution found/,
    /pip with https:\/\/download\.pytorch\.org\/whl\/cpu: pip download/,
    /what to do: /,
    /or set COTS_LIBTORCH to the folder of a libtorch/,
  ]) {
    t.regex(output, way);
  }
});

test('a leftover that is still written to does not stop the set-up', (t) => {
  const machine = new FakeMachine(t);
  machine.libtorch('cache/libtorch-2.13.0');
  const folder = path.join(machine.cache, 'tmp-99999999-libtorch-abc');
  const loop = `for i in $(seq 3000); do mkdir -p '${folder}/x'; : > "${folder}/x/$i"; done`;
  const writer = spawn('bash', ['-c', loop]);
  t.teardown(() => writer.kill('SIGKILL'));
  while (!existsSync(path.join(folder, 'x'))) spawnSync('sleep', ['0.01']);
  const { code, output } = machine.setUp('libtorch');
  t.is(code, 0, output);
});

test('what a killed set-up left in the cache is removed', (t) => {
  const machine = new FakeMachine(t);
  machine.libtorch('cache/libtorch-2.13.0');
  mkdirSync(path.join(machine.cache, 'tmp-99999999-libtorch-abc'));
  mkdirSync(path.join(machine.cache, `tmp-${process.pid}-libtorch-abc`));
  t.is(machine.setUp('libtorch').code, 0);
  t.deepEqual(readdirSync(machine.cache).sort(), ['libtorch-2.13.0', `tmp-${process.pid}-libtorch-abc`]);
});
