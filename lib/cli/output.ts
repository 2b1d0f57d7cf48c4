/** What a command says: one JSON document or plain text on stdout; notes and failures on stderr. */
import { CommanderError } from 'commander';
import { CotsError } from '../errors.js';
import { Interruption } from './interrupt.js';

/** Ends a process: 0 done, 1 failed, 2 wrongly called; stopped by a signal, see `Interruption`. */
export const exitCodes = { done: 0, failed: 1, usage: 2 } as const;

/** Flags that are right one by one and wrong together. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Options every command has. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly verbose?: boolean;
}

/** Prints a result: the document with `--json`, else the lines. Typed arrays become arrays. */
export function printResult(options: CommonOptions, document: object, lines: readonly string[]): void {
  const text =
    options.json === true ? JSON.stringify(document, plainArrays) : lines.map(printable).join('\n');
  process.stdout.write(`${text}\n`);
}

function plainArrays(_key: string, value: unknown): unknown {
  return ArrayBuffer.isView(value) && !(value instanceof DataView)
    ? Array.from(value as unknown as ArrayLike<number>)
    : value;
}

/** A line on stderr. */
export function note(line: string): void {
  process.stderr.write(`${printable(line)}\n`);
}

/** Text without what would steer a terminal: an id or a caption comes from a file of others. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
}

/** Says why a command failed, on one line (with the stack if `verbose`), and gives the exit code. */
export function reportFailure(error: unknown, verbose: boolean): number {
  if (error instanceof UsageError) {
    note(`cots: ${error.message}`);
    return exitCodes.usage;
  }

  // Commander has said what was wrong by itself.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
  const failure = error instanceof Error ? error : new Error(String(error));
  const code = failure instanceof CotsError ? ` [${failure.code}]` : '';
  note(`cots: ${failure.message.replaceAll(/\s*\n\s*/g, ' ')}${code}`);
  if (verbose) {
    for (let cause: unknown = failure; cause instanceof Error; cause = cause.cause)
      note(cause.stack ?? String(cause));
  }

  return failure instanceof Interruption ? failure.exitCode : exitCodes.failed;
}

/** A table with a header: columns padded to their widest cell, those of numbers to the right. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  const isText = header.map((_, column) => rows.some((row) => /^[^\d.-]/.test(row[column] ?? '')));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => {
        const width = widths[column] as number;
        return isText[column] ? cell.padEnd(width) : cell.padStart(width);
      })
      .join('  ')
      .trimEnd();
  return [line(header), ...rows.map(line)];
}

/** `1 image`, `2 images`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** Bytes for people. */
export function humanBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  return `${(bytes / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}

/** Seconds for people. */
export function humanSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return '-';
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (h > 0) return `${h}h${String(m).padStart(2, '0')}m`;
  return m > 0 ? `${m}m${String(s).padStart(2, '0')}s` : `${s}s`;
}

/** A number for people: whole numbers with separators, others with four digits. */
export function humanNumber(value: number): string {
  return Number.isInteger(value) ? value.toLocaleString('en-US') : value.toPrecision(4);
}
