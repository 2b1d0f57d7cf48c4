/** A JSON-lines file whose lines carry a `step`: appended while a run goes, cut back to a step when it is resumed. */
import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { fileError } from '../read-file.js';

const pieceBytes = 2 ** 20;

export class StepLog {
  readonly #file: string;
  #handle: FileHandle | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  /** Opens for appending, with only the lines of steps up to `step`; a torn last line goes too. Step 0 empties the file. */
  async openAt(step: number): Promise<void> {
    this.#handle = await this.#do(() => open(this.#file, 'a'));
    await this.#do(async () => this.#handle?.truncate(step > 0 ? await lengthUpTo(this.#file, step) : 0));
  }

  /** Appends lines in one write. */
  async append(lines: readonly object[]): Promise<void> {
    if (lines.length === 0) return;
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    await this.#do(async () => this.#handle?.appendFile(text));
  }

  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
  }

  async #do<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw fileError(error, 'write', this.#file);
    }
  }
}

/** Bytes of the lines up to that step: steps only grow. A piece at a time, for a log may be larger than a string can be. */
async function lengthUpTo(file: string, step: number): Promise<number> {
  let length = 0;
  let rest = Buffer.alloc(0);
  for await (const piece of createReadStream(file, { highWaterMark: pieceBytes })) {
    const bytes = Buffer.concat([rest, piece as Buffer]);
    let begin = 0;
    for (let end = bytes.indexOf('\n'); end >= 0; end = bytes.indexOf('\n', begin)) {
      const of = stepOf(bytes.toString('utf8', begin, end));
      if (of === undefined || of > step) return length;
      length += end + 1 - begin;
      begin = end + 1;
    }

    rest = bytes.subarray(begin);
  }

  return length;
}

function stepOf(line: string): number | undefined {
  try {
    const value: unknown = JSON.parse(line);
    const step = (value as { step?: unknown } | null)?.step;
    return typeof step === 'number' ? step : undefined;
  } catch {
    return undefined;
  }
}
