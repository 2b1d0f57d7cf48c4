/** What all commands share: common options, a failure that ends the process, flags that are numbers. */
import { Command, InvalidArgumentError, type Option } from 'commander';
import { CotsError } from '../errors.js';
import type { CommonOptions } from './output.js';

/** Commander, with two more rules: a misspelt option is named even where a required one is missing, and no value is empty. */
class CheckedCommand extends Command {
  #unknown: string | undefined;

  override parseOptions(argv: string[]): ReturnType<Command['parseOptions']> {
    const parsed = super.parseOptions(argv);
    this.#unknown ??= parsed.unknown.find((word) => word.startsWith('-'));
    return parsed;
  }

  // Commander looks for missing options first.
  missingMandatoryOptionValue(option: Option): void {
    const self = this as unknown as { unknownOption(flag: string): void };
    if (this.#unknown !== undefined) self.unknownOption(this.#unknown);
    this.error(`error: required option '${option.flags}' not specified`, {
      code: 'commander.missingMandatoryOptionValue',
    });
  }

  refuseEmpty(): void {
    const wrong = (name: string): never =>
      this.error(`Expected ${name} to be a value that is not empty.`, { code: 'commander.invalidArgument' });
    for (const [index, value] of this.processedArgs.entries()) {
      if (isBlank(value)) wrong(`<${this.registeredArguments[index]?.name()}>`);
    }

    for (const option of this.options) {
      if (isBlank(this.getOptionValue(option.attributeName()))) wrong(option.long ?? option.flags);
    }
  }
}

function isBlank(value: unknown): boolean {
  return typeof value === 'string' && value.trim() === '';
}

/** A command with `--json`, `--verbose` and an example under its help. */
export function newCommand(name: string, description: string, example: string): Command {
  return new CheckedCommand(name)
    .hook('preAction', (_, command) => (command as CheckedCommand).refuseEmpty())
    .description(description)
    .option('--json', 'print one JSON document on stdout')
    .option('--verbose', 'print the stack of a failure')
    .configureOutput({ outputError: (message, write) => write(usageLine(message, example)) })
    .addHelpText('after', `\nExample:\n  $ ${example}`)
    .allowExcessArguments(false);
}

/** A group of commands, such as `cots embed`. */
export function newGroup(name: string, description: string, example: string): Command {
  return new Command(name)
    .description(description)
    .configureOutput({ outputError: (message, write) => write(usageLine(message, example)) })
    .addHelpText('after', `\nExample:\n  $ ${example}`);
}

/** Commander's words for a wrong call as one line, with a right one. */
export function usageLine(message: string, example: string): string {
  const words = message
    .trim()
    .replace(/^error: /, '')
    .replaceAll(/\s*\n\s*/g, ' ');
  return `cots: ${words.endsWith('.') || words.endsWith(')') ? words : `${words}.`} For example: ${example}\n`;
}

/** A command that the interface names and this version does not have: absent from help, it answers ERR_COTS_NOT_IMPLEMENTED. */
export function addMissing(parent: Command, names: readonly string[]): void {
  for (const name of names) {
    const command = new Command(name).allowUnknownOption().allowExcessArguments().helpOption(false);
    command.action(() => {
      const full = [...ancestors(parent), name].join(' ');
      throw new CotsError(
        'ERR_COTS_NOT_IMPLEMENTED',
        `Expected a command of this version, got \`${full}\`, which it does not have yet. \`cots --help\` lists what it has.`,
      );
    });
    parent.addCommand(command, { hidden: true });
  }
}

function ancestors(command: Command | null): string[] {
  return command === null ? [] : [...ancestors(command.parent), command.name()];
}

/** What the commands that take a data set accept (ECOSYSTEM 3.1). */
export const datasetForms =
  'manifest or table (.jsonl), annotation file (.json, .csv, .tsv, .parquet, .token), WebDataset shards (.tar, {000..123}.tar, a folder of them) or folder of images with captions; http(s):// and s3:// too, several joined by ::';

/** A flag's parser: a whole number in [min, max]. */
export function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) {
      throw new InvalidArgumentError(
        max === Number.MAX_SAFE_INTEGER
          ? `Expected a whole number of at least ${min}.`
          : `Expected a whole number from ${min} to ${max}.`,
      );
    }

    return value;
  };
}

/** A flag's parser: a number above 0. */
export function positiveNumber(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('Expected a number above 0.');
  return value;
}

/** Overrides must look like key.path=value; anything else is a usage error. */
export function collectOverride(text: string, before: string[] = []): string[] {
  if (!/^[A-Za-z][\w.]*=/.test(text))
    throw new InvalidArgumentError('Expected key.path=value, for example train.batchSize=128.');
  return [...before, text];
}

export type { CommonOptions };
