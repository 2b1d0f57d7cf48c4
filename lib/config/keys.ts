/** The schema as a flat list of keys. */
import type { z } from 'zod';
import { nearest } from '../checks.js';
import type { KeyMeta } from './key.js';
import { configSchema } from './schema.js';

/** One key of the config. */
export interface ConfigKey extends KeyMeta {
  /** Dotted path, such as `train.batchSize`. */
  readonly key: string;
  readonly default: unknown;
}

let listed: ConfigKey[] | undefined;

/** All keys, in the order of the schema. */
export function configKeys(): readonly ConfigKey[] {
  listed ??= collect(configSchema, '', configSchema.parse({}));
  return listed;
}

/** The key of that name. */
export function findKey(key: string): ConfigKey | undefined {
  return configKeys().find((known) => known.key === key);
}

/** True for the name of a section, such as `token.maskImage`. */
export function isSection(name: string): boolean {
  return configKeys().some(({ key }) => key.startsWith(`${name}.`));
}

/** Names of the first level, such as `train`. */
export function sections(): string[] {
  return [...new Set(configKeys().map(({ key }) => key.split('.')[0] as string))];
}

/** The known key nearest to a wrong one: by its whole name, or by its last part. */
export function nearestKey(wrong: string): string | undefined {
  const names = configKeys().map(({ key }) => key);
  const sections = [...new Set(names.flatMap((name) => parents(name)))];
  const last = lastPart(wrong);
  const sameLast = names.filter((name) => lastPart(name).toLowerCase() === last.toLowerCase());
  if (sameLast.length === 1) return sameLast[0];
  const inSection = names.filter((name) => name.startsWith(wrong.slice(0, wrong.lastIndexOf('.') + 1)));
  const begins = wrong.includes('.') ? inSection.filter((name) => lastPart(name).startsWith(last)) : [];
  if (begins.length === 1 && last.length >= 3) return begins[0];
  const bySection = sameLast.find((name) => name.startsWith('train.')) ?? sameLast[0];
  return nearest(wrong, [...names, ...sections]) ?? bySection ?? byLastPart(last, names);
}

function byLastPart(last: string, names: readonly string[]): string | undefined {
  if (last.length < 3) return undefined;
  const near = nearest(last, names.map(lastPart));
  return names.find((name) => lastPart(name) === near);
}

function lastPart(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1);
}

function parents(name: string): string[] {
  const parts = name.split('.');
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('.'));
}

function collect(schema: z.core.$ZodType, path: string, fallback: unknown): ConfigKey[] {
  const meta = (schema as z.ZodType).meta() as KeyMeta | undefined;
  if (meta?.rule !== undefined) return [{ key: path, ...meta, default: fallback }];
  const shape = shapeOf(schema);
  return Object.entries(shape).flatMap(([name, child]) =>
    collect(child, path === '' ? name : `${path}.${name}`, (fallback as Record<string, unknown>)[name]),
  );
}

/** The children of a section, seen through its `prefault`. */
function shapeOf(schema: z.core.$ZodType): Record<string, z.core.$ZodType> {
  const { def } = schema._zod as unknown as {
    def: { innerType?: z.core.$ZodType; shape?: Record<string, z.core.$ZodType> };
  };
  return def.innerType === undefined ? (def.shape ?? {}) : shapeOf(def.innerType);
}
