import { rmSync } from 'node:fs';
import test from 'ava';
import { FakeMachine } from './fake-machine.js';

const missing = test.macro({
  exec(t, tool: string, expected: RegExp) {
    const machine = new FakeMachine(t);
    machine.remove(tool);
    const { code, output } = machine.setUp('tools');
    t.is(code, 1);
    t.regex(output, expected);
    t.is(output.trim().split('\n').length, 2, output);
  },
  title: (_, tool) => `without ${tool} set-up stops with one line that says how to install it`,
});

test(missing, 'cmake', /cmake is not installed\. Install it: apt-get install -y cmake/);
test(missing, 'python3', /python3 is not installed\. Install it: apt-get install -y python3 python3-pip/);
test(missing, 'c++', /no C\+\+ compiler .* is installed\. Install it: apt-get install -y g\+\+/);
test(missing, 'npm', /npm is not installed\. Install it: apt-get install -y npm/);

test('all that is missing is told at once', (t) => {
  const machine = new FakeMachine(t);
  machine.remove('cmake');
  machine.remove('c++');
  const { output } = machine.setUp('tools');
  t.regex(output, /cmake is not installed/);
  t.regex(output, /no C\+\+ compiler/);
});

test('a python without pip is refused', (t) => {
  const machine = new FakeMachine(t);
  machine.tool('python3', 'exit 1');
  const { code, output } = machine.setUp('tools');
  t.is(code, 1);
  t.regex(output, /python3 has no pip\. Install it: /);
});

test('a cmake that is too old is refused with both versions', (t) => {
  const machine = new FakeMachine(t);
  machine.tool('cmake', 'echo cmake version 3.16.3');
  t.regex(machine.setUp('tools').output, /version 3\.16\.3, 3\.21 or later is needed/);
});

test('without ninja and make, and without a way to bring one, the line names ninja', (t) => {
  const machine = new FakeMachine(t);
  rmSync(`${machine.tools}/ninja`);
  const { code, output } = machine.setUp('tools');
  t.is(code, 1);
  t.regex(output, /neither ninja nor make .* Install it: apt-get install -y ninja-build/);
});

test('an unknown step is a usage error', (t) => {
  const { code, output } = new FakeMachine(t).setUp('tolls');
  t.is(code, 2);
  t.regex(output, /STEP is one of tools, packages, libtorch, ffmpeg, native, typescript/);
});
