/** Signals and terminals: what ends a command, with which code, and how the terminal is left. */
import { spawn } from 'node:child_process';
import { access, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { stringify } from 'yaml';
import { Interruption } from '../../lib/cli/interrupt.js';
import { reportFailure } from '../../lib/cli/output.js';
import { resumeCommand } from '../../lib/cli/resume-command.js';
import { readCheckpoint } from '../../lib/train/checkpoint.js';
import { cotsCommand, startCots } from '../support/cli.js';
import { makeShapes, temporaryFolder, tinyConfig } from '../support/tiny.js';

const main = fileURLToPath(new URL('../../lib/cli/main.js', import.meta.url));

async function endless(t: ExecutionContext): Promise<{ folder: string; config: string; out: string }> {
  const folder = await temporaryFolder(t);
  const out = path.join(folder, 'the run');
  const config = path.join(folder, 'config.yaml');
  const over = { train: { steps: 100_000 }, checkpoint: { everySteps: 5, keep: 1 } };
  await writeFile(config, stringify(tinyConfig(await makeShapes(folder, 24), out, over)));
  return { folder, config, out };
}

/** What a command says when it gets `signal` after it has said `sign`. */
function signaled(args: readonly string[], signal: NodeJS.Signals, sign = 'checkpoint') {
  let sent = false;
  return startCots(args, (stderr, child) => {
    if (sent || !stderr.includes(sign)) return;
    sent = true;
    child.kill(signal);
  }).ended;
}

for (const [signal, expected] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`${signal} in train ends the step, writes a checkpoint, exits ${expected} and says the command that goes on`, async (t) => {
    const { config, out } = await endless(t);
    const { code, stdout, stderr } = await signaled(['train', '--config', config, '--json'], signal);
    t.is(code, expected, stderr);
    t.regex(stderr, /interrupted/);
    const stopped = JSON.parse(stdout) as { step: number; reason: string; resume: string };
    t.is(stopped.reason, 'aborted');
    t.is(stopped.resume, `cots train --config ${config} --json --resume latest`);
    t.regex(stderr, new RegExp(`^go on with: ${stopped.resume}$`, 'm'));
    await t.throwsAsync(access(path.join(out, 'run.lock')), { code: 'ENOENT' });

    const longer = `${stopped.resume.replace(/^cots/, cotsCommand)} train.steps=${stopped.step + 2}`;
    const resumed = await inShell(longer);
    t.is(resumed.code, 0, resumed.stderr);
    t.like(JSON.parse(resumed.stdout), { step: stopped.step + 2, reason: 'done', resume: null });
    const steps = (await readFile(path.join(out, 'metrics.jsonl'), 'utf8')).trimEnd().split('\n');
    t.deepEqual(
      steps.map((line) => (JSON.parse(line) as { step: number }).step),
      Array.from({ length: stopped.step + 2 }, (_, i) => i + 1),
    );
  });
}

test('a second SIGINT stops train within the step; the one that npx passes on is no second one', async (t) => {
  const { config, out } = await endless(t);
  const slow = ['size=128', 'patch=8', 'width=128', 'layers=4'].map((size) => `model.image.${size}`);
  // Not beside the next step: the first checkpoint is told of before the second step begins.
  const more = [
    'train.batchSize=64',
    'checkpoint.everySteps=1',
    'checkpoint.async=false',
    'token.fusion=none',
  ];
  let sent = 0;
  const { ended } = startCots(['train', '--config', config, ...slow, ...more], (stderr, child) => {
    if (sent === 0 && stderr.includes('checkpoint')) {
      sent = 1;
      child.kill('SIGINT');
    } else if (sent === 1 && stderr.includes('interrupted')) {
      sent = 2;
      child.kill('SIGINT');
      setTimeout(() => child.kill('SIGINT'), 600);
    }
  });
  const { code, signal, stderr } = await ended;
  t.is(signal, null);
  t.is(code, 130);
  t.notRegex(stderr, /go on with/);
  const steps = (await readFile(path.join(out, 'metrics.jsonl'), 'utf8')).trimEnd().split('\n').length;
  t.is(steps, 1, 'the second step was not waited for');
  t.is((await readCheckpoint(path.join(out, 'latest'))).step, 1);
});

test('a command that gives up on a signal says so and has the same code', (t) => {
  t.is(reportFailure(new Interruption('SIGINT'), false), 130);
  t.is(reportFailure(new Interruption('SIGTERM'), false), 143);
});

test('SIGINT in train-tokenizer writes the tokenizer as it is and exits 130', async (t) => {
  const { config, folder } = await endless(t);
  const out = path.join(folder, 'dvae');
  const small = ['token.vocab=32', 'tokenizer.hidden=16', 'tokenizer.codebookDim=8', 'tokenizer.blocks=1'];
  const args = ['train-tokenizer', '--config', config, `tokenizer.out=${out}`, ...small, '--json'];
  const { code, stdout, stderr } = await signaled(args, 'SIGINT', 'image tokenizer');
  t.is(code, 130, stderr);
  t.is((JSON.parse(stdout) as { reason: string }).reason, 'aborted');
});

test('the command that goes on is the one that was given, quoted', (t) => {
  const words = ['train', '--config', 'my config.yaml', '--resume', 'DIR', "train.out=it's", 'a.b=[1, 2]'];
  t.is(
    resumeCommand(words),
    "cots train --config 'my config.yaml' 'train.out=it'\\''s' 'a.b=[1, 2]' --resume latest",
  );
  t.is(resumeCommand(['train', '--resume=latest', '--json']), 'cots train --json --resume latest');
});

function inShell(command: string): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = spawn('bash', ['-c', command]);
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** Runs a command on a terminal of its own; `watch` may write keys or kill. Python is what set-up needs anyway. */
function onTerminal(
  args: readonly string[],
  watch: (screen: string, terminal: { keys(text: string): void }) => void,
): Promise<{ code: number | null; screen: string }> {
  const python = `import fcntl, os, pty, select, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    ready, _, _ = select.select([terminal, 0], [], [])
    if 0 in ready:
        keys = os.read(0, 100)
        if keys: os.write(terminal, keys)
    if terminal in ready:
        try: shown = os.read(terminal, 65536)
        except OSError: break
        if not shown: break
        os.write(1, shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) % 256)`;
  return new Promise((resolve, reject) => {
    const child = spawn('python3', ['-c', python, process.execPath, main, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let screen = '';
    child.on('error', reject);
    child.stdin.on('error', () => {});
    child.stdout.on('data', (chunk: Buffer) => {
      screen += chunk.toString();
      watch(screen, { keys: (text) => child.stdin.write(text) });
    });
    child.on('close', (code) => resolve({ code, screen }));
  });
}

const [hidden, shown] = ['\u001b[?25l', '\u001b[?25h'];

test('on a terminal train shows a live view, and Ctrl-C leaves the cursor shown', async (t) => {
  const { config } = await endless(t);
  let pressed = false;
  const { code, screen } = await onTerminal(['train', '--config', config], (text, { keys }) => {
    if (pressed || !/step +\d+ of 100,000/.test(text) || !text.includes('checkpoint ')) return;
    pressed = true;
    keys('\u0003');
  });
  t.is(code, 130);
  t.regex(screen, /pairs\/s +memory [\d.]+ MiB of/);
  t.regex(screen, /parts +image-text/);
  t.true(screen.includes(hidden));
  t.true(screen.lastIndexOf(shown) > screen.lastIndexOf(hidden));
  t.regex(screen, /go on with: cots train .*--resume latest/);
});

test('a run that fails on a terminal says why under its view, with the cursor shown', async (t) => {
  const { config, folder } = await endless(t);
  await writeFile(path.join(folder, 'images', 'train-3.png'), 'no image');
  const { code, screen } = await onTerminal(['train', '--config', config, 'data.maxBadFraction=0'], () => {});
  t.is(code, 1);
  t.regex(screen, /cots: .*maxBadFraction.*ERR_COTS_DATA/);
  t.true(screen.lastIndexOf(shown) > screen.lastIndexOf(hidden));
});
