// Child processes: `capture` for short questions, `run` for work that may take minutes.

import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';

/** Standard output of a short command, or undefined when it cannot be run or fails. */
export function capture(command, args, options = {}) {
  const child = spawnSync(command, args, { encoding: 'utf8', timeout: 60_000, ...options });
  return child.status === 0 ? child.stdout.trim() : undefined;
}

const running = new Set();

/** A signal to set-up goes on to what it runs (each command has a process group of its own), then ends set-up. */
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => {
    for (const child of running) stopGroup(child.pid);
    process.exit(130);
  });
}

function stopGroup(pid) {
  try {
    process.kill(-pid, 'SIGTERM');
  } catch {
    // it ended by itself meanwhile
  }
}

/**
 * Runs a command to its end without blocking the event loop. With `show`, its output goes to our stdout as it
 * comes; it is kept either way. `started` is told the process id. Resolves `{ code, output }`; never rejects.
 */
export function run(command, args, { cwd, env, show = false, started = () => {} } = {}) {
  return new Promise((settle) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    running.add(child);
    if (child.pid) started(child.pid);
    let output = '';
    const take = (chunk) => {
      output += chunk;
      if (show) process.stdout.write(chunk);
    };
    const end = (result) => {
      running.delete(child);
      settle(result);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('error', (error) => end({ code: 127, output: error.message }));
    child.on('close', (code, signal) =>
      end({ code: code ?? 1, output: signal ? `${output}\n${signal}` : output }),
    );
  });
}

/** The last lines of an output that say something, for an error message. */
export function lastLines(output, count = 4) {
  return output
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^(npm )?(warn|notice)/i.test(line))
    .slice(-count)
    .join(' | ')
    .slice(-600);
}

/** The full path of an executable, looked up on PATH; undefined when there is none. */
export function findOnPath(name) {
  const folders = isAbsolute(name) ? [''] : (process.env.PATH ?? '').split(delimiter);
  for (const folder of folders) {
    const path = folder === '' ? name : join(folder, name);
    if (isExecutable(path)) return path;
  }
  return undefined;
}

export function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
