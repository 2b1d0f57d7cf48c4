/** The config's keys for `--help` and the documentation. */
import { configKeys } from './keys.js';

/** One row of the table of keys. */
export interface KeyDescription {
  readonly key: string;
  /** The default as it would be written in YAML flow style. */
  readonly default: string;
  /** What values are allowed. */
  readonly rule: string;
  readonly description: string;
}

/** All keys with their default, rule and sentence, in the order of the schema. */
export function describeConfig(): KeyDescription[] {
  return configKeys().map(({ key, rule, description, default: fallback }) => ({
    key,
    default: shown(fallback),
    rule,
    description,
  }));
}

/** The same as a Markdown table. */
export function configMarkdown(): string {
  const rows = describeConfig().map(
    (row) => `| \`${row.key}\` | \`${row.default}\` | ${row.rule} | ${row.description} |`,
  );
  return ['| key | default | value | meaning |', '|---|---|---|---|', ...rows, ''].join('\n');
}

function shown(value: unknown): string {
  if (typeof value === 'number') return String(Number(value.toPrecision(6)));
  if (Array.isArray(value)) return value.length === 0 ? 'null' : `[${value.map(shown).join(', ')}]`;
  return JSON.stringify(value);
}
