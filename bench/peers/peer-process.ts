/** A peer as a long-lived process: JSON lines in, JSON lines out (peer.py and peer.mjs are its other side). */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

type Answer = Record<string, unknown>;

const keptErrors = 4000;

/** A peer that has started. */
interface Started {
  readonly versions: Readonly<Record<string, string>>;
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly lines: AsyncIterator<string>;
  readonly errors: { readonly text: string };
}

export interface PeerOptions {
  readonly arguments?: readonly string[];
  /** Added to the process's own. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts a program that serves as a peer: its first line says its versions. */
export async function startPeer(
  program: string,
  script: string,
  { arguments: args = [], env = {} }: PeerOptions,
): Promise<Started> {
  const child = spawn(program, [script, ...args], {
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const errors = { text: '' };
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors.text = (errors.text + chunk).slice(-keptErrors);
  });
  child.stdin.on('error', () => {}); // the answer that does not come tells it
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const { versions } = (await nextAnswer(lines, errors, script)) as { versions: Record<string, string> };
  return { child, lines, errors, versions };
}

/** Call `close` when done; a process that goes away takes its peers along, because their input ends. */
export class PeerProcess {
  readonly versions: Readonly<Record<string, string>>;
  readonly #child: Started['child'];
  readonly #lines: AsyncIterator<string>;
  readonly #errors: Started['errors'];

  constructor({ child, lines, errors, versions }: Started) {
    this.#child = child;
    this.#lines = lines;
    this.#errors = errors;
    this.versions = versions;
  }

  /** One request, one at a time. Throws with the peer's own words when it fails or ends. */
  async ask<T = Answer>(request: string, values: Answer = {}): Promise<T> {
    this.#child.stdin.write(`${JSON.stringify({ do: request, ...values })}\n`);
    return (await nextAnswer(this.#lines, this.#errors, request)) as T;
  }

  /** Ends the process and waits for it. */
  async close(): Promise<void> {
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== null || signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.stdin.end();
    const killer = setTimeout(() => this.#child.kill('SIGKILL'), 5000);
    await ended;
    clearTimeout(killer);
  }
}

async function nextAnswer(
  lines: AsyncIterator<string>,
  errors: { readonly text: string },
  asked: string,
): Promise<Answer> {
  const { value, done } = await lines.next();
  if (done === true) throw new Error(`The peer ended before it answered ${asked}.\n${errors.text}`);
  const answer = JSON.parse(value) as Answer;
  if (typeof answer['error'] === 'string')
    throw new Error(`The peer failed at ${asked}.\n${answer['error']}`);
  return answer;
}
