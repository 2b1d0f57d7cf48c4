/** What ffmpeg says, line by line and in bounded memory. */
import type { Readable } from 'node:stream';

const longestLine = 4096;

/** Calls `onLine` with each line of a stream; what goes beyond 4,096 characters of a line is left out. */
export function eachLine(stream: Readable, onLine: (line: string) => void): void {
  let rest = '';
  const end = (): void => {
    if (rest !== '') onLine(rest);
    rest = '';
  };
  stream.setEncoding('utf8');
  stream.on('error', () => {});
  stream.on('data', (text: string) => {
    const lines = text.split(/[\r\n]+/);
    for (const [index, line] of lines.entries()) {
      if (index > 0) end();
      rest = (rest + line).slice(0, longestLine);
    }
  });
  stream.on('end', end);
}
