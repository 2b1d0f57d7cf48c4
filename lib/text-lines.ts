/** Lines of a text file, split at line feeds alone: newer Node's readline also splits at U+2028, which JSON allows inside a string. */
import { createReadStream } from 'node:fs';

/** Yields the lines of a UTF-8 file, without their end (LF or CRLF), in bounded memory. Throws what the file system throws. */
export async function* textLines(file: string): AsyncGenerator<string, void, undefined> {
  let rest = '';
  for await (const chunk of createReadStream(file, 'utf8')) {
    const lines = (rest + (chunk as string)).split('\n');
    rest = lines.pop() as string;
    for (const line of lines) yield line.endsWith('\r') ? line.slice(0, -1) : line;
  }
  if (rest !== '') yield rest;
}
