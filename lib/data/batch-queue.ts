/** Keeps a few values in the making ahead of their use. */

/** Wraps a promise that is to be waited for later. */
export interface Started<T> {
  readonly value: Promise<T>;
}

/** Starts values one after another, `depth` of them ahead, and hands them out in order; an aborted wait loses none. */
export class BatchQueue<T> {
  readonly #depth: number;
  readonly #start: () => Promise<Started<T>>;
  readonly #started: Promise<Started<T>>[] = [];
  #last: Promise<unknown> = Promise.resolve();
  #stopped = false;

  /** @param start begins the next value and settles when the one after it may begin. */
  constructor(depth: number, start: () => Promise<Started<T>>) {
    this.#depth = depth;
    this.#start = start;
  }

  /** The next value; one call at a time. Throws `signal.reason` as soon as the signal aborts. */
  async next(signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    this.#fill();
    const first = (this.#started[0] as Promise<Started<T>>).then(({ value }) => value);
    const value = await (signal === undefined ? first : raceAbort(first, signal));
    this.#started.shift();
    this.#fill();
    return value;
  }

  /** Starts nothing more. */
  stop(): void {
    this.#stopped = true;
  }

  /** Settles when all that was started has settled, whether it failed or not. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#started.map(async (started) => (await started).value));
  }

  #fill(): void {
    while (!this.#stopped && this.#started.length < this.#depth) {
      const started = this.#last.then(() => this.#start());
      started.then(({ value }) => value.catch(() => {})).catch(() => {});
      this.#started.push(started);
      this.#last = started;
    }
  }
}

async function raceAbort<T>(value: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  value.catch(() => {});
  try {
    return await Promise.race([value, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
