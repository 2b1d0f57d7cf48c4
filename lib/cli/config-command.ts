/** `cots config`: the keys of a config, what each does, takes and is by default. */
import type { Command } from 'commander';
import { type ConfigKey, configKeys, nearestKey } from '../config/keys.js';
import { ConfigError } from '../errors.js';
import { type CommonOptions, newCommand } from './command.js';
import { printResult } from './output.js';

export function configCommand(): Command {
  return newCommand(
    'config',
    'list the keys of a config: what each does, takes and is by default',
    'cots config train',
  )
    .argument('[name]', 'a key, or a section such as `train` or `data.aug`')
    .action((name: string | undefined, options: CommonOptions) => {
      const keys = name === undefined ? configKeys() : keysOf(name);
      printResult(options, { keys }, keys.flatMap(keyLines));
    });
}

/** The key of that name, or those of that section. */
function keysOf(name: string): readonly ConfigKey[] {
  const keys = configKeys().filter(({ key }) => key === name || key.startsWith(`${name}.`));
  if (keys.length > 0) return keys;
  const near = nearestKey(name);
  throw new ConfigError(
    `Expected the name of a key or a section of a config, got '${name}'.${near === undefined ? ' Leave it out for all of them.' : ` Did you mean \`${near}\`?`}`,
  );
}

function keyLines({ key, default: value, rule, description }: ConfigKey): string[] {
  return [`${key} = ${JSON.stringify(value)}`, `    ${description} Takes ${rule}.`];
}
