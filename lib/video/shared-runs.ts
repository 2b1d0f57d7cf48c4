/**
 * Who reads clips when: a bounded number of runs of ffmpeg at a time, each of several clips where they can share it. Which clips meet in
 * a run follows from what is asked for while the runs before are at work; their frames are the same in any company.
 */
import type { VideoFrame } from './read-frames.js';
import { canShare, type SharedClip, SharedRun } from './shared-run.js';

/**
 * Clips of one run at most. The seventh part of the time that 12 frames of a 10 s clip of 320 x 240 take by themselves is the start of
 * a process: of four in one run each bears a quarter of it. With more, too little is left to gain for what they hold in memory.
 */
export const clipsOfRun = 4;

/** For so long a run waits for clips whose packets are still being listed. */
const lingerMilliseconds = 50;

interface Together {
  readonly clip: SharedClip;
  readonly start: (run: SharedRun, place: number) => void;
}

export class SharedRuns {
  readonly #most: number;
  readonly #seconds: number | undefined;
  #running = 0;
  /** In the order in which they were taken. */
  readonly #seats = new Set<Seat>();
  readonly #alone = new Map<Seat, () => void>();
  readonly #together = new Map<Seat, Together>();
  #linger: NodeJS.Timeout | undefined;

  /**
   * @param runs of ffmpeg at the same time; one more for the clip that was begun first.
   * @param seconds bound on a run of several clips.
   */
  constructor(runs: number, seconds?: number) {
    this.#most = runs;
    this.#seconds = seconds;
  }

  /** A place for a clip that is about to be read. Free it in any case. */
  seat(): Seat {
    const seat: Seat = new Seat(this);
    this.#seats.add(seat);
    return seat;
  }

  /** Waits for company. */
  join(seat: Seat, clip: SharedClip, start: Together['start']): void {
    this.#together.set(seat, { clip, start });
    this.#next();
  }

  /** Waits for a run of its own, which lasts until the seat is free. */
  queue(seat: Seat, start: () => void): void {
    this.#alone.set(seat, start);
    this.#next();
  }

  /** A clip that waits does so no more. */
  withdraw(seat: Seat): void {
    this.#alone.delete(seat);
    this.#together.delete(seat);
    this.#next();
  }

  free(seat: Seat): void {
    this.#seats.delete(seat);
    if (seat.hasRun) this.#running--;
    this.withdraw(seat);
  }

  #next(hasLingered = false): void {
    // Whoever reads clips in order waits for the first one: it never waits for others, which may wait for their reader.
    const [first] = this.#seats;
    for (const [seat, start] of this.#alone) {
      if (!this.#hasRoom && seat !== first) continue;
      this.#alone.delete(seat);
      seat.hasRun = true;
      this.#running++;
      start();
    }

    while (this.#together.size > 0) {
      const isLate = first !== undefined && this.#together.has(first);
      if (!this.#hasRoom && !isLate) return;
      if (!hasLingered && this.#together.size < clipsOfRun && this.#isAnyComing) break;
      this.#start();
    }

    if (this.#together.size > 0)
      this.#linger ??= setTimeout(() => {
        this.#linger = undefined;
        this.#next(true);
      }, lingerMilliseconds);
  }

  get #hasRoom(): boolean {
    return this.#running < this.#most;
  }

  /** Whether company may be had soon. */
  get #isAnyComing(): boolean {
    return [...this.#seats].some(({ isComing }) => isComing);
  }

  /** Starts a run of those that wait for company, if there are any. */
  #start(): void {
    clearTimeout(this.#linger);
    this.#linger = undefined;
    if (this.#together.size === 0) return;
    const group = [...this.#together].slice(0, clipsOfRun);
    for (const [seat] of group) this.#together.delete(seat);
    const run = new SharedRun(
      group.map(([, { clip }]) => clip),
      this.#seconds,
    );
    this.#running++;
    void run.ended.then(() => {
      this.#running--;
      this.#next();
    });
    for (const [place, [, { start }]] of group.entries()) start(run, place);
  }
}

/** One clip's place among those that are read at the same time. */
export class Seat {
  readonly #runs: SharedRuns;
  /** Whether it may still ask for company. */
  isComing = true;
  /** Whether it has a run of its own. */
  hasRun = false;

  constructor(runs: SharedRuns) {
    this.#runs = runs;
  }

  /**
   * Frames of the clip from the first on, exact, read in a run with others: all of them, or less (or none) where the rest has to be
   * read alone. Throws the signal's reason.
   */
  async *together(clip: SharedClip, signal?: AbortSignal): AsyncGenerator<VideoFrame, void, undefined> {
    this.isComing = false;
    if (!canShare(clip)) return;
    let leave = async (): Promise<void> => this.#runs.withdraw(this);
    try {
      const next = await unlessAborted<() => Promise<VideoFrame | undefined>>(signal, (resolve) =>
        this.#runs.join(this, clip, (run, place) => {
          leave = () => run.leave(place);
          resolve(() => run.next(place));
        }),
      );
      for (;;) {
        const frame = await unlessAborted<VideoFrame | undefined>(
          signal,
          (resolve) => void next().then(resolve),
        );
        if (frame === undefined) return;
        yield frame;
      }
    } finally {
      await leave();
    }
  }

  /** Waits until the clip may have a run of its own, until it is freed. Throws the signal's reason. */
  async alone(signal?: AbortSignal): Promise<void> {
    this.isComing = false;
    if (this.hasRun) return;
    try {
      await unlessAborted<void>(signal, (resolve) => this.#runs.queue(this, resolve));
    } finally {
      this.#runs.withdraw(this);
    }
  }

  free(): void {
    this.isComing = false;
    this.#runs.free(this);
  }
}

/** Waits for `resolve` to be called. Throws the signal's reason as soon as it aborts. */
async function unlessAborted<T>(
  signal: AbortSignal | undefined,
  begin: (resolve: (value: T) => void) => void,
): Promise<T> {
  signal?.throwIfAborted();
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([aborted, new Promise<T>(begin)]);
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}
