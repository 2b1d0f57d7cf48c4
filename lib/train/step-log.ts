/** A JSON-lines file whose lines carry a `step`: appended while a run goes, cut back to a step when it is resumed. */
import { type FileHandle, open } from 'node:fs/promises';
import { exists, fileError, readText } from '../read-file.js';
import { writeFileAtomic } from '../write-file.js';

export class StepLog {
  readonly #file: string;
  #handle: FileHandle | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  /** Opens for appending, with only the lines of steps up to `step`; a torn last line goes too. Step 0 empties the file. */
  async openAt(step: number): Promise<void> {
    const kept = step > 0 && (await exists(this.#file)) ? linesUpTo(await readText(this.#file), step) : '';
    await writeFileAtomic(this.#file, kept);
    this.#handle = await this.#do(() => open(this.#file, 'a'));
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

function linesUpTo(text: string, step: number): string {
  const kept = text.split('\n').filter((line) => {
    const of = stepOf(line);
    return of !== undefined && of <= step;
  });
  return kept.map((line) => `${line}\n`).join('');
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
