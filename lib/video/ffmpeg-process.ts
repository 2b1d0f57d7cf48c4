/** One run of ffmpeg: its outputs as pipes, a bound on the time it is waited for, and its end, whoever brings it about. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { CotsError, VideoError } from '../errors.js';
import { ffmpegAdvice, requireFfmpeg } from './find-ffmpeg.js';
import { eachLine } from './stderr-lines.js';
import { WaitingClock } from './waiting-clock.js';

export interface FfmpegOptions {
  /** The video, for messages. */
  readonly name: string;
  /** Pipes it writes to: stdout (`pipe:1`), then `pipe:3`, ... @default 1 */
  readonly outputs?: number;
  /** Called with each line of stderr, cut to a bounded length. */
  readonly onLine?: (line: string) => void;
  /** Called when stderr has ended, which it does before the process counts as ended. */
  readonly onLastLine?: () => void;
  readonly signal?: AbortSignal | undefined;
  /** Seconds it may be waited for in all; neither its reader's time counts, nor that of a machine that was suspended. @default 300 */
  readonly seconds?: number;
}

const defaultSeconds = 300;

/** Ended with this process: nothing else would end one that waits for its reader. */
const living = new Set<ChildProcess>();
let isExitWatched = false;

/** A complaint of ffmpeg's. */
export interface FfmpegError {
  /** The part that complains, such as `h264` or `in#0/matroska,webm`; may be empty. */
  readonly from: string;
  readonly message: string;
}

/** Start it, read `outputs` to their end (through `waitFor`), then `end()`; or `kill()` at any time. */
export class FfmpegProcess {
  readonly outputs: readonly Readable[];
  readonly #child: ChildProcess;
  readonly #closed: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly #options: FfmpegOptions;
  readonly #errors: FfmpegError[] = [];
  readonly #onAbort: () => void;
  #secondsLeft: number;
  #isTooSlow = false;
  /** Why it was ended from here. */
  #cause: unknown;

  private constructor(file: string, args: readonly string[], options: FfmpegOptions) {
    const outputs = options.outputs ?? 1;
    const pipes = Array.from({ length: outputs - 1 }, () => 'pipe' as const);
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe', ...pipes], windowsHide: true });
    this.#child = child;
    this.#options = options;
    this.#secondsLeft = options.seconds ?? defaultSeconds;
    this.outputs = Array.from({ length: outputs }, (_, index) => child.stdio[fdOf(index)] as Readable);
    for (const output of this.outputs) output.on('error', () => {}); // told by the process's end
    endWithProcess(child);
    this.#closed = new Promise((resolve) => {
      child.once('error', (error) => {
        this.#cause ??= notStarted(file, error);
        if (child.pid === undefined) resolve({ code: null, signal: null });
      });
      child.once('close', (code, signal) => resolve({ code, signal }));
    });
    const stderr = child.stderr as Readable;
    eachLine(stderr, (line) => this.#line(line));
    stderr.once('close', () => options.onLastLine?.());
    this.#onAbort = () => this.#stop(options.signal?.reason);
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Throws `ERR_COTS_INSTALL` without an ffmpeg, and the signal's reason. */
  static async start(args: readonly string[], options: FfmpegOptions): Promise<FfmpegProcess> {
    const { path } = await requireFfmpeg();
    options.signal?.throwIfAborted();
    return new FfmpegProcess(path, args, options);
  }

  /** The first of `outputs`. */
  get output(): Readable {
    return this.outputs[0] as Readable;
  }

  /** What it said so far at level error or worse; the first of many. */
  get errors(): readonly FfmpegError[] {
    return this.#errors;
  }

  /** Whether it hung or was killed: another run of the same would fare no better. */
  get isLost(): boolean {
    return this.#isTooSlow || this.#child.signalCode !== null;
  }

  /** Waits for output; when the time is up the process is killed, which ends its outputs. */
  async waitFor<T>(output: Promise<T>): Promise<T> {
    const clock = new WaitingClock(this.#secondsLeft, () => {
      this.#isTooSlow = true;
      this.#stop(this.#tooSlow());
    });
    try {
      return await output;
    } finally {
      this.#secondsLeft = clock.stop();
    }
  }

  /** Resolves when it has ended well. Throws `ERR_COTS_VIDEO` else, `ERR_COTS_INSTALL` when it could not start, or the signal's reason. */
  async end(): Promise<void> {
    const { code, signal } = await this.waitFor(this.#closed);
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    if (this.#cause !== undefined) throw this.#cause;
    const { name } = this.#options;
    if (signal !== null)
      throw new VideoError(
        `Expected ffmpeg to read ${name} to its end, it was killed by ${signal}. Try again.`,
      );
    if (this.#errors.some(({ message }) => message.includes("No such filter: 'zscale'")))
      throw noToneMapping(name);
    if (code !== 0) throw unreadable(name, this.#errors[0]?.message ?? `exit code ${code}`);
  }

  /** Ends it and waits until it is gone. Does nothing to one that has ended. */
  async kill(): Promise<void> {
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#stop(new VideoError(`Expected ffmpeg to read ${this.#options.name}, it was stopped.`));
    await this.#closed;
  }

  #stop(cause: unknown): void {
    this.#cause ??= cause;
    this.#child.kill('SIGKILL');
    for (const output of this.outputs) output.destroy(); // unread bytes would hold back the end
  }

  #line(line: string): void {
    const found = /^(?:\[(\S+) @ [^\]]*\] )?\[(?:error|fatal|panic)\] (.*?)\.?$/.exec(line);
    if (found !== null && this.#errors.length < mostErrors)
      this.#errors.push({ from: found[1] ?? '', message: found[2] ?? '' });
    this.#options.onLine?.(line);
  }

  #tooSlow(): VideoError {
    const { name, seconds = defaultSeconds } = this.#options;
    return new VideoError(
      `Expected ffmpeg to read ${name} within ${seconds} s of waiting, it took longer. Encode the video again, or cut it.`,
    );
  }
}

/** ffmpeg's name of one of `outputs`. */
export function outputUrl(index: number): string {
  return `pipe:${fdOf(index)}`;
}

/** 2 is stderr. */
function fdOf(index: number): number {
  return index === 0 ? 1 : 2 + index;
}

const mostErrors = 20;

/** The failure of a video that ffmpeg gives up on. */
export function unreadable(name: string, reason: string): VideoError {
  return new VideoError(
    `Expected ${name} to be a video that can be read whole, got: ${reasonOf(reason)}. Restore it from its source.`,
  );
}

function noToneMapping(name: string): CotsError {
  return new CotsError(
    'ERR_COTS_INSTALL',
    `Expected an ffmpeg with the filter zscale, as HDR video needs it (${name} is HDR), got one without. Set COTS_FFMPEG to a full build, or leave it unset and run \`npm run setup\` in the package folder.`,
  );
}

/** In place of words that speak of ffmpeg's arguments. */
function reasonOf(words: string): string {
  return /matches no streams/.test(words) ? 'no stream of video (a cover picture is none)' : words;
}

function notStarted(file: string, error: Error): CotsError {
  return new CotsError(
    'ERR_COTS_INSTALL',
    `Expected ffmpeg to start at ${file}, got: ${error.message}. ${ffmpegAdvice}`,
    { cause: error },
  );
}

function endWithProcess(child: ChildProcess): void {
  living.add(child);
  child.once('close', () => living.delete(child));
  if (isExitWatched) return;
  isExitWatched = true;
  process.on('exit', () => {
    for (const one of living) one.kill('SIGKILL');
  });
}
