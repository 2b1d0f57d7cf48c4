/** A bound on waiting, counted in ticks: of a machine that is suspended the clock goes on, and the one waited for does not. */

const tickSeconds = 1;

export class WaitingClock {
  readonly #onEnd: () => void;
  readonly #now: () => number;
  #left: number;
  #tickStart = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Calls `onEnd` when `seconds` of waiting are over. @param now milliseconds. */
  constructor(seconds: number, onEnd: () => void, now: () => number = () => performance.now()) {
    this.#left = seconds;
    this.#onEnd = onEnd;
    this.#now = now;
    this.#tick();
  }

  /** Ends the waiting; the seconds that are left. */
  stop(): number {
    clearTimeout(this.#timer);
    this.#count();
    return this.#left;
  }

  #tick(): void {
    this.#tickStart = this.#now();
    const milliseconds = 1000 * Math.max(0, Math.min(tickSeconds, this.#left));
    this.#timer = setTimeout(() => {
      this.#count();
      if (this.#left > 0) this.#tick();
      else this.#onEnd();
    }, Math.ceil(milliseconds));
  }

  /** However long a tick took, it counts as no more than one. */
  #count(): void {
    this.#left -= Math.min(tickSeconds, (this.#now() - this.#tickStart) / 1000);
    this.#tickStart = this.#now();
  }
}
