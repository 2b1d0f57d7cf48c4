/** Progress on stderr: a bar with rate and time left on a terminal, a plain line now and then elsewhere. */
import { Presets, SingleBar } from 'cli-progress';
import { humanSeconds, note } from './output.js';

export interface ProgressOptions {
  readonly title: string;
  /** Items in all. */
  readonly total: number;
  /** Name of an item, such as `images`. */
  readonly unit: string;
  /** Items already done, of a run that goes on. @default 0 */
  readonly done?: number;
}

export interface Progress {
  /** `done` items in all; `detail` is a short text beside them. */
  update(done: number, detail?: string): void;
  /** A line that must not be lost in the bar. */
  say(line: string): void;
  stop(): void;
}

const secondsBetweenLines = 10;

/** Starts a bar or lines, as stderr allows. */
export function startProgress(options: ProgressOptions): Progress {
  return isTerminal() ? barProgress(options) : lineProgress(options);
}

/** Whether stderr is a terminal that can be drawn on: some made by programs have no size. */
export function isTerminal(): boolean {
  return process.stderr.isTTY && process.stderr.columns > 0 && process.stderr.rows > 0;
}

function barProgress({ title, total, unit, done = 0 }: ProgressOptions): Progress {
  const clock = rateClock(done, total);
  const bar = new SingleBar(
    {
      stream: process.stderr,
      format: `${title} {bar} {percentage}% {value}/{total} ${unit} {rate}/s, {left} left {detail}`,
      hideCursor: true,
      etaBuffer: 50,
    },
    Presets.shades_classic,
  );
  bar.start(total, done, { rate: '-', left: '-', detail: '' });
  return {
    update(now, detail = '') {
      const { rate, left } = clock(now);
      bar.update(now, { rate: rate.toFixed(1), left: humanSeconds(left), detail });
    },
    say(line) {
      process.stderr.write(`\r\u001b[K${line}\n`);
    },
    stop: () => bar.stop(),
  };
}

function lineProgress({ title, total, unit, done = 0 }: ProgressOptions): Progress {
  const clock = rateClock(done, total);
  let last = performance.now();
  let shown = -1;
  let latest = { now: done, detail: '' };
  const line = (): void => {
    const { now, detail } = latest;
    const { rate, left } = clock(now);
    const percent = total > 0 ? Math.floor((100 * now) / total) : 100;
    note(
      `${title}: ${now}/${total} ${unit} (${percent} %), ${rate.toFixed(1)}/s, ${humanSeconds(left)} left ${detail}`.trimEnd(),
    );
    last = performance.now();
    shown = now;
  };
  return {
    update(now, detail = '') {
      latest = { now, detail };
      if (performance.now() - last >= secondsBetweenLines * 1000) line();
    },
    say: note,
    stop() {
      if (shown !== latest.now) line();
    },
  };
}

/** Items a second since the start, and the seconds left at that rate. */
function rateClock(done: number, total: number): (now: number) => { rate: number; left: number } {
  const start = performance.now();
  return (now) => {
    const rate = ((now - done) / Math.max(performance.now() - start, 1)) * 1000;
    return { rate, left: rate > 0 ? (total - now) / rate : Infinity };
  };
}
