/** JSON lines that are a table: a caption a line under a usual name, or columns that were named. */
import { fileError } from '../../read-file.js';
import { textLines } from '../../text-lines.js';
import { type Columns, captionColumns, parseJsonLine, type Row } from './table.js';

/**
 * The rows of a file that is no manifest: one whose columns are named, or whose first line has a caption under a usual name and no
 * `captions`. Undefined for a manifest, and for what neither is: the manifest's reader says what is wrong with it.
 */
export async function readJsonRows(file: string, columns: Columns | null): Promise<Row[] | undefined> {
  const rows: Row[] = [];
  let number = 0;
  try {
    for await (const line of textLines(file)) {
      number++;
      if (line.trim() === '') continue;
      if (rows.length === 0 && columns === null && !isTableLine(line)) return undefined;
      rows.push(
        parseJsonLine(number === 1 ? line.replace(/^\uFEFF/, '') : line, `line ${number} of ${file}`),
      );
    }
  } catch (error) {
    throw fileError(error, 'read a table at', file);
  }

  return rows.length === 0 ? undefined : rows;
}

function isTableLine(line: string): boolean {
  try {
    const first = JSON.parse(line.replace(/^\uFEFF/, '')) as Record<string, unknown>;
    return first['captions'] === undefined && captionColumns.some((name) => typeof first[name] === 'string');
  } catch {
    return false;
  }
}
