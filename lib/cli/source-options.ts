/** Flags that say how a data set is read, the same for every command that takes one. */
import { type Command, InvalidArgumentError } from 'commander';
import { nearest } from '../checks.js';
import { type Columns, columnRoles } from '../data/readers/table.js';

export interface SourceOptions {
  readonly split?: string;
  readonly images?: string;
  readonly columns?: Columns;
}

/** Adds --split, --images and --columns. */
export function addSourceOptions(command: Command): Command {
  return command
    .option('--split <name>', 'split to take (default: all entries)')
    .option('--images <dir>', 'folder that its paths are relative to (default: that of the file)')
    .option(
      '--columns <names>',
      `what a table's columns are, or the endings and .json fields of shards: ${columnRoles.map((role) => `${role}=NAME`).join(',')} (default: the usual names)`,
      parseColumns,
    );
}

/** The flags as `openDataset` takes them. */
export function sourceOf({ split = '', images = '', columns }: SourceOptions): {
  split: string | null;
  images: string | null;
  columns: Columns | null;
} {
  return { split: split || null, images: images || null, columns: columns ?? null };
}

/** Several data sets are written one after the other, as a shell makes them of a wildcard. */
export function joined(data: readonly string[]): string {
  return data.join('::');
}

function parseColumns(text: string): Columns {
  const columns: Record<string, string> = {};
  for (const part of text.split(',')) {
    const [, role = '', name = ''] = /^(\w+)=(.+)$/.exec(part) ?? [];
    if (!(columnRoles as readonly string[]).includes(role)) {
      const near = nearest(role, columnRoles);
      throw new InvalidArgumentError(
        `Expected ROLE=NAME, such as image=path,caption=text, with the roles ${columnRoles.join(', ')}; got '${part}'.${near === undefined ? '' : ` Did you mean '${near}'?`}`,
      );
    }

    columns[role] = name;
  }

  return columns;
}
