/** Config files and overrides as layers of raw values: `extends`, `key.path=value`, and their merge. */
import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { parseDocument } from 'yaml';
import { ConfigError } from '../errors.js';
import { fileError, readText } from '../read-file.js';
import { findKey, isSection } from './keys.js';
import { unknownKey } from './messages.js';
import { expandPresets } from './presets.js';

/** Values as they were written, not checked yet. */
export type RawConfig = Record<string, unknown>;

/** A YAML file laid over the file it `extends`, presets expanded a layer. Throws `ERR_COTS_CONFIG`, `ERR_COTS_FILE`. */
export async function readLayers(file: string, above: readonly string[] = []): Promise<RawConfig> {
  const text = await readText(file, 'a config file');
  const real = await realpath(file).catch((error: unknown) => {
    throw fileError(error, 'read a config file at', file);
  });
  if (above.includes(real)) {
    throw new ConfigError(
      `Expected \`extends\` to lead to a file without it, got a cycle: ${[...above, real].join(' -> ')}. Remove one of them.`,
    );
  }

  const { extends: parent, ...own } = parseYaml(text, file);
  const layer = expandPresets(own);
  if (parent === undefined) return layer;
  if (typeof parent !== 'string' || parent === '') {
    throw new ConfigError(
      `Expected \`extends\` in ${file} to be the path of a config file, got ${JSON.stringify(parent)}.`,
    );
  }

  return merge(await readLayers(path.resolve(path.dirname(file), parent), [...above, real]), layer);
}

/** `key.path=value` texts as one layer; a value is read as YAML. Throws `ERR_COTS_CONFIG` for an unknown key. */
export function overrideLayer(overrides: readonly string[]): RawConfig {
  const layer: RawConfig = {};
  for (const override of overrides) {
    const equals = override.indexOf('=');
    if (equals < 1) {
      throw new ConfigError(
        `Expected an override of the form key.path=value, got '${override}'. Write for example train.batchSize=128.`,
      );
    }

    const key = override.slice(0, equals).trim();
    if (findKey(key) === undefined && !isSection(key)) throw unknownKey(key);
    assign(layer, key.split('.'), overrideValue(key, override.slice(equals + 1).trim()));
  }

  return expandPresets(layer);
}

/** `over` laid on `under`: maps are merged, anything else is replaced. */
export function merge(under: RawConfig, over: RawConfig): RawConfig {
  const merged: RawConfig = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key];
    merged[key] = isMap(below) && isMap(value) ? merge(below, value) : value;
  }

  return merged;
}

function parseYaml(text: string, file: string): RawConfig {
  const document = parseDocument(text, { prettyErrors: true });
  const [error] = document.errors;
  if (error !== undefined) {
    const [first] = error.message.split('\n');
    throw new ConfigError(`Expected ${file} to be YAML, got: ${first} Correct that line.`, { cause: error });
  }

  const value: unknown = document.toJS() ?? {};
  if (!isMap(value))
    throw new ConfigError(
      `Expected ${file} to hold a map of keys, got ${JSON.stringify(value)?.slice(0, 60)}.`,
    );
  return value;
}

function overrideValue(key: string, text: string): unknown {
  const asText =
    findKey(key)?.text === true && text !== '' && text !== 'null' && text !== '~' && !/^[[{"']/.test(text);
  if (asText) return text;
  const document = parseDocument(text);
  if (document.errors.length > 0) {
    throw new ConfigError(
      `Expected the value of \`${key}\` to be a YAML value, got '${text}'. Quote it if it is text.`,
    );
  }

  return document.toJS();
}

function assign(target: RawConfig, parts: readonly string[], value: unknown): void {
  const [first, ...rest] = parts as [string, ...string[]];
  if (rest.length === 0) {
    const below = target[first];
    target[first] = isMap(below) && isMap(value) ? merge(below, value) : value;
    return;
  }

  if (!isMap(target[first])) target[first] = {};
  assign(target[first] as RawConfig, rest, value);
}

function isMap(value: unknown): value is RawConfig {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
