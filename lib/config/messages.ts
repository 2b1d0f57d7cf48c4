/** What a wrong config says: what, rule, value, way out. */
import type { z } from 'zod';
import { show } from '../checks.js';
import { ConfigError } from '../errors.js';
import { findKey, isSection, nearestKey, sections } from './keys.js';

/** The first issue as a ConfigError; the number of the others is told. `root` is what the schema stands under, such as `model`. */
export function configError(issues: readonly z.core.$ZodIssue[], raw: unknown, root = ''): ConfigError {
  const [issue] = issues;
  const more = issues.length > 1 ? ` (${issues.length - 1} more of the config's keys are wrong.)` : '';
  return new ConfigError(sentence(issue as z.core.$ZodIssue, raw, root) + more);
}

/** An unknown key, with the nearest known one. */
export function unknownKey(key: string): ConfigError {
  const near = nearestKey(key);
  const hint =
    near === undefined
      ? `Sections: ${sections().join(', ')}; \`cots train --dry-run --json\` prints them all.`
      : `Did you mean \`${near}\`?`;
  return new ConfigError(`Expected only known config keys, got \`${key}\`. ${hint}`);
}

function sentence(issue: z.core.$ZodIssue, raw: unknown, root: string): string {
  const inside = issue.path.map(String);
  const name = [...(root === '' ? [] : [root]), ...inside].join('.');
  const owner = leafAbove(name);
  if (issue.code === 'unrecognized_keys' && owner === undefined) {
    return unknownKey([name, issue.keys[0]].filter((part) => part !== '').join('.')).message;
  }

  if (owner !== undefined) {
    const { key, rule } = owner;
    const depth = key.split('.').length - (root === '' ? 0 : 1);
    return `Expected \`${key}\` to be ${rule}, got ${shown(at(raw, inside.slice(0, depth)))}. ${wayOut(key, owner.default)}`;
  }

  const what = name === '' ? 'the config' : `\`${name}\``;
  const known = name === '' || isSection(name) ? 'a map of keys' : issue.message;
  return `Expected ${what} to be ${known}, got ${shown(at(raw, inside))}. Write it as \`key: value\` lines, or leave it out.`;
}

function wayOut(key: string, fallback: unknown): string {
  if (Array.isArray(fallback) && fallback.length === 0) return `Set for example ${key}=data/train.jsonl.`;
  return `The default is ${JSON.stringify(fallback)}: set ${key}=${JSON.stringify(fallback)} or leave it out.`;
}

/** The leaf that holds a path: `data.aug.crop.scale.0` belongs to `data.aug.crop.scale`. */
function leafAbove(name: string) {
  const parts = name.split('.');
  for (let count = parts.length; count > 0; count--) {
    const key = findKey(parts.slice(0, count).join('.'));
    if (key !== undefined) return key;
  }

  return undefined;
}

function at(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (inner, part) => (inner as Record<string, unknown> | null | undefined)?.[part],
    value,
  );
}

function shown(value: unknown): string {
  if (typeof value === 'object' && value !== null) return JSON.stringify(value).slice(0, 120);
  return show(value);
}
