/** Lines of a text file, split at line feeds alone: newer Node's readline also splits at U+2028, which JSON allows inside a string. */
import { bytesAsOpened } from './read-file.js';

/** Yields the lines that a UTF-8 file has when it is opened, without their end (LF or CRLF), in bounded memory. Throws what the file system throws. */
export async function* textLines(file: string): AsyncGenerator<string, void, undefined> {
  // Keeps a byte order mark, as the readers of files do.
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let rest = '';
  for await (const chunk of bytesAsOpened(file)) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() as string;
    for (const line of lines) yield line.endsWith('\r') ? line.slice(0, -1) : line;
  }
  rest += decoder.decode();
  if (rest !== '') yield rest;
}
