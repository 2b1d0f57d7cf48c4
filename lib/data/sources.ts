/** What a user wrote as one data set, as the files it stands for: several joined by `::`, brace ranges, wildcards. */
import path from 'node:path';
import { glob } from 'tinyglobby';
import { DataError } from '../errors.js';
import { exists } from '../read-file.js';
import { isRemote } from '../remote/location.js';

const mostFiles = 1_000_000;

/**
 * The locations in order: `a::b`, `{000..123}` and `{train,val}` as a shell expands them, `*`, `?`, `[...]` and `**` sorted by
 * name. What is there by the very name given is taken as it is. Throws `ERR_COTS_DATA` for a range that runs backwards or
 * is too long, and for wildcards that match nothing.
 */
export async function expandSources(given: string): Promise<string[]> {
  const found: string[] = [];
  for (const part of given.split('::')) {
    if (part === '')
      throw new DataError(
        `Expected data sets joined by '::', got '${given}'. Take away the one that is empty.`,
      );
    if (!isRemote(part) && (await exists(part))) found.push(part);
    else for (const one of expandBraces(part)) found.push(...(await expandWildcards(one)));
  }

  return found;
}

/** The first pair of braces is expanded, then what is inside and behind it, as a shell does. */
function expandBraces(given: string): string[] {
  const begin = given.indexOf('{');
  const parts = begin === -1 ? undefined : bracesAt(given, begin);
  if (parts === undefined) return [given];
  const { choices, end } = parts;
  const inside = choices.length > 1 ? choices : rangeOf(choices[0] as string, given);
  const head = given.slice(0, begin);
  if (inside === undefined) return expandBraces(given.slice(end)).map((tail) => given.slice(0, end) + tail);
  return inside.flatMap((choice) => expandBraces(choice + given.slice(end)).map((tail) => head + tail));
}

/** What stands between the commas of a pair of braces; undefined where the second one is missing. */
function bracesAt(given: string, begin: number): { choices: string[]; end: number } | undefined {
  const choices: string[] = [];
  let [depth, from] = [0, begin + 1];
  for (let at = begin; at < given.length; at++) {
    const character = given[at];
    if (character === '{') depth++;
    else if (character === '}') depth--;
    if (depth > 1 || (depth === 1 && character !== ',')) continue;
    choices.push(given.slice(from, at));
    from = at + 1;
    if (depth === 0) return { choices, end: at + 1 };
  }

  return undefined;
}

function rangeOf(inside: string, given: string): string[] | undefined {
  const [, from, to] = /^(\d+)\.\.(\d+)$/.exec(inside) ?? [];
  if (from === undefined || to === undefined) return undefined;
  const [first, last] = [Number(from), Number(to)];
  if (last < first || last - first >= mostFiles)
    throw new DataError(
      `Expected a range from a smaller to a larger number in ${given}, got {${inside}}. Write it as {000000..000123}.`,
    );
  return Array.from({ length: last - first + 1 }, (_, index) =>
    String(first + index).padStart(from.length, '0'),
  );
}

async function expandWildcards(given: string): Promise<string[]> {
  if (isRemote(given) || !/[*?[]/.test(given)) return [given];
  const names = await glob(given, { onlyFiles: false, expandDirectories: false });
  if (names.length === 0)
    throw new DataError(`Expected ${given} to match files, it matches none. Check the path.`);
  return names.map((name) => path.normalize(name)).sort();
}
