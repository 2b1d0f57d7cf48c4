/** Awaiting native promises: the caller's stack on every failure, AbortSignal, and disposal. */
import { binding, type NativeCancel } from './binding.js';
import { CotsError, StateError } from './errors.js';

/** Remembers where the user called `entry`. Take it first thing in a public function, before any await. */
export function callSite(entry: (...args: never[]) => unknown): Error {
  const site = new Error();
  Error.captureStackTrace(site, entry);
  return site;
}

/** Runs `work`; a CotsError without a frame of the caller gets the stack of `site`. */
export async function fromSite<T>(site: Error, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw withSite(error, site);
  }
}

/** Puts the caller's frames under a CotsError; any other value passes unchanged. */
export function withSite(error: unknown, site: Error): unknown {
  if (error instanceof CotsError) {
    const frames = (site.stack ?? '').split('\n').slice(1).join('\n');
    error.stack = `${error.name} [${error.code}]: ${error.message}\n${frames}`;
  }

  return error;
}

/** What a disposed object's calls reject with. */
export function disposedError(what: string): StateError {
  return new StateError(
    'ERR_COTS_DISPOSED',
    `Expected a ${what} in use, got one that was disposed. Load or create another.`,
  );
}

/**
 * The calls an object has in flight. Each gets a cancel flag; a signal or `dispose()` sets it and rejects the call at
 * once, without waiting for the native job to notice.
 */
export class PendingCalls {
  readonly #what: string;
  readonly #rejects = new Set<(error: unknown) => void>();
  #disposed = false;

  /** @param what the object's name in messages, such as `Cots model`. */
  constructor(what: string) {
    this.#what = what;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** Throws `ERR_COTS_DISPOSED` after dispose(). */
  check(): void {
    if (this.#disposed) throw disposedError(this.#what);
  }

  /**
   * Runs native work. Rejects with `signal.reason` on abort (before any work if already aborted) and with
   * `ERR_COTS_DISPOSED` on dispose().
   */
  async run<T>(signal: AbortSignal | undefined, work: (cancel: NativeCancel) => Promise<T>): Promise<T> {
    this.check();
    signal?.throwIfAborted();
    const cancel = binding().createCancel();
    let reject: (error: unknown) => void = () => {};
    const stopped = new Promise<never>((_, rejectStopped) => {
      reject = (error) => {
        cancel.cancel();
        rejectStopped(error);
      };
    });
    stopped.catch(() => {});
    const onAbort = (): void => reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#rejects.add(reject);
    try {
      const job = work(cancel);
      job.catch(() => {});
      return await Promise.race([job, stopped]);
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.#rejects.delete(reject);
    }
  }

  /** Rejects what is pending; later calls throw. True the first time. */
  dispose(): boolean {
    if (this.#disposed) return false;
    this.#disposed = true;
    for (const reject of this.#rejects) reject(disposedError(this.#what));
    return true;
  }
}
