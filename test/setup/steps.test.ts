import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { FakeMachine } from './fake-machine.js';

/** A project whose `npm ci` works; the answer tells how often it ran. */
function withPackages(machine: FakeMachine): () => number {
  machine.write('project/package-lock.json', '{}');
  const log = machine.write('npm-runs', '');
  machine.tool('npm', `mkdir -p ${machine.project}/node_modules; echo ran >> ${log}; echo added 3 packages`);
  return () => readFileSync(log, 'utf8').split('ran').length - 1;
}

test('a second set-up has nothing to do', (t) => {
  const machine = new FakeMachine(t);
  const npmRuns = withPackages(machine);
  machine.libtorch('cache/libtorch-2.13.0');
  const steps = 'tools,packages,libtorch,ffmpeg';
  const first = machine.setUp(steps);
  t.is(first.code, 0, first.output);
  t.regex(first.output, /packages +added 3 packages/);
  t.regex(first.output, /set-up done/);
  t.is(npmRuns(), 1);
  const second = machine.setUp(steps);
  t.regex(second.output, /packages +nothing to do/);
  t.regex(second.output, /set-up had nothing to do/);
  t.is(npmRuns(), 1);
});

test('packages are installed again when the lock file changed, or when node_modules is gone', (t) => {
  const machine = new FakeMachine(t);
  const npmRuns = withPackages(machine);
  machine.setUp('packages');
  machine.write('project/package-lock.json', '{ "packages": {} }');
  machine.setUp('packages');
  t.is(npmRuns(), 2);
  rmSync(path.join(machine.project, 'node_modules'), { recursive: true });
  machine.setUp('packages');
  t.is(npmRuns(), 3);
});

test('npm ci is tried twice, and a failure is told and not stamped', (t) => {
  const machine = new FakeMachine(t);
  machine.write('project/package-lock.json', '{}');
  machine.tool('npm', 'echo "npm error code ENOTFOUND"; exit 1');
  const { code, output } = machine.setUp('packages');
  t.is(code, 1);
  t.regex(output, /try 1 of 2/);
  t.regex(output, /npm ci failed 2 times: npm error code ENOTFOUND/);
  const npmRuns = withPackages(machine);
  t.is(machine.setUp('packages').code, 0);
  t.is(npmRuns(), 1);
});

test('a dependency of another project has no lock file and installs nothing', (t) => {
  t.regex(new FakeMachine(t).setUp('packages').output, /packages +installed with cots itself/);
});

test('ffmpeg: COTS_FFMPEG, then PATH, then the cache; without any, a warning', (t) => {
  const machine = new FakeMachine(t);
  t.regex(machine.setUp('ffmpeg').output, /6\.0-fake at .*bin\/ffmpeg \(PATH\)/);
  machine.tool('mine', 'echo ffmpeg version 7.1-mine');
  const mine = path.join(machine.tools, 'mine');
  t.regex(machine.setUp('ffmpeg', { COTS_FFMPEG: mine }).output, /7\.1-mine at .*bin\/mine \(COTS_FFMPEG\)/);
  machine.remove('ffmpeg');
  const { code, output } = machine.setUp('ffmpeg');
  t.is(code, 0);
  t.regex(output, /WARNING: none found, video will not work .*apt-get install -y ffmpeg/);
});

test('a COTS_FFMPEG that does not run stops set-up', (t) => {
  const machine = new FakeMachine(t);
  machine.tool('mine', 'exit 1');
  const { code, output } = machine.setUp('ffmpeg', { COTS_FFMPEG: path.join(machine.tools, 'mine') });
  t.is(code, 1);
  t.regex(output, /COTS_FFMPEG cannot be used: .*mine is no ffmpeg that runs/);
});

/** A set-up in the background: what it has printed so far, and a wait for a line of it. */
function background(t: ExecutionContext, machine: FakeMachine) {
  const script = path.join(machine.project, 'scripts/setup.mjs');
  const env = { PATH: machine.tools, HOME: machine.folder, COTS_CACHE: machine.cache };
  const child = spawn(process.execPath, [script, '--only', 'packages'], { env });
  t.teardown(() => child.kill());
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const ended = new Promise<void>((settle) => {
    child.on('close', () => settle());
  });
  const says = async (pattern: RegExp) => {
    while (!pattern.test(output)) await sleep(20);
  };
  return { says, ended };
}

test('two set-ups at once run one after the other', async (t) => {
  const machine = new FakeMachine(t);
  const npmRuns = withPackages(machine);
  const go = path.join(machine.folder, 'go');
  const wait = `${process.execPath} -e 'setInterval(() => fs.existsSync("${go}") && process.exit(), 20)'`;
  machine.tool(
    'npm',
    `${wait}; mkdir -p ${machine.project}/node_modules; echo ran >> ${machine.folder}/npm-runs`,
  );
  const first = background(t, machine);
  await first.says(/npm ci \.\.\./);
  const second = background(t, machine);
  await second.says(/another set-up \(process \d+\) is at work here: waiting for it/);
  writeFileSync(go, '');
  await Promise.all([first.ended, second.ended]);
  await second.says(/packages +nothing to do/);
  t.is(npmRuns(), 1);
});

test('the lock of a killed or silent set-up is taken over', (t) => {
  const machine = new FakeMachine(t);
  const lock = path.join(machine.project, 'build/.setup-lock');
  mkdirSync(path.dirname(lock));
  writeFileSync(lock, '99999999');
  t.is(machine.setUp('packages').code, 0);
  writeFileSync(lock, String(process.pid));
  utimesSync(lock, new Date(0), new Date(0));
  t.is(machine.setUp('packages').code, 0);
  t.false(existsSync(lock));
});
