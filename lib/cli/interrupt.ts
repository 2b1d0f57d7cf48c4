/** Ctrl-C and SIGTERM: the first asks a command to end, the second ends the process. */
import { constants } from 'node:os';
import { CotsError } from '../errors.js';

/** A signal ended a command before its work was done, whether it saved what it had or not. */
export class Interruption extends CotsError {
  /** 128 and the signal's number, as shells have it: 130 for SIGINT, 143 for SIGTERM. */
  readonly exitCode: number;

  constructor(signal: 'SIGINT' | 'SIGTERM') {
    super('ERR_COTS_CANCELLED', `Expected the command to end by itself, ${signal} stopped it.`);
    this.exitCode = 128 + constants.signals[signal];
  }
}

/** The signals that end a command. */
export interface Interrupt {
  /** Aborted by the first SIGINT or SIGTERM; its reason is an `Interruption`. */
  readonly signal: AbortSignal;
  /** For a command that ended well before its work was done: the process ends with the code of the signal, if there was one. */
  endsProcess(): void;
  release(): void;
}

/** npm and npx pass on a Ctrl-C that the terminal has given to this process too. */
const sameSignalMs = 500;

/** A first SIGINT or SIGTERM aborts, a second one ends the process at once. */
export function interruptSignal(onFirst: () => void): Interrupt {
  const controller = new AbortController();
  let first = 0;
  const onSignal = (name: 'SIGINT' | 'SIGTERM'): void => {
    const interruption = new Interruption(name);
    if (!controller.signal.aborted) {
      first = performance.now();
      onFirst();
      controller.abort(interruption);
    } else if (performance.now() - first > sameSignalMs) {
      process.exit(interruption.exitCode);
    }
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    signal: controller.signal,
    endsProcess() {
      if (controller.signal.aborted) process.exitCode = (controller.signal.reason as Interruption).exitCode;
    },
    release() {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}
