/** Runs the real binary beside the compiled tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../lib/cli/main.js', import.meta.url));

/** The command as a shell takes it. */
export const cotsCommand = `${process.execPath} ${main}`;

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts `cots` with arguments; `watch` sees stderr as it comes, `env` is set beside this process's variables. */
export function startCots(
  args: readonly string[],
  watch?: (stderr: string, child: ChildProcess) => void,
  env: Readonly<Record<string, string>> = {},
): { child: ChildProcess; ended: Promise<Outcome> } {
  const child = spawn(process.execPath, [main, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
    watch?.(stderr, child);
  });
  const ended = new Promise<Outcome>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  return { child, ended };
}

const atOnce = 2;
const waiting: (() => void)[] = [];
let running = 0;

/** Runs `cots` to its end; two at a time, since ava starts all tests of a file at once. */
export async function cots(...args: string[]): Promise<Outcome> {
  if (running === atOnce) await new Promise<void>((resolve) => waiting.push(resolve));
  else running++;
  try {
    return await startCots(args).ended;
  } finally {
    const next = waiting.shift();
    if (next === undefined) running--;
    else next();
  }
}
