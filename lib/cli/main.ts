#!/usr/bin/env node
/** The command line: one binary, a file a command. Only the file of the command that is called is loaded. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { packageRoot } from '../binding.js';
import { fileError } from '../read-file.js';
import { usageLine } from './command.js';
import { reportFailure } from './output.js';

const commands: Readonly<Record<string, () => Promise<Command>>> = {
  doctor: async () => (await import('./doctor-command.js')).doctorCommand(),
  train: async () => (await import('./train-command.js')).trainCommand(),
  'train-tokenizer': async () => (await import('./train-tokenizer-command.js')).trainTokenizerCommand(),
  config: async () => (await import('./config-command.js')).configCommand(),
  eval: async () => (await import('./eval-command.js')).evalCommand(),
  embed: async () => (await import('./embed-command.js')).embedCommand(),
  index: async () => (await import('./index-command.js')).indexCommand(),
  search: async () => (await import('./search-command.js')).searchCommand(),
  data: async () => (await import('./data-command.js')).dataCommand(),
  import: async () => (await import('./import-command.js')).importCommand(),
  export: async () => (await import('./export-command.js')).exportCommand(),
  inspect: async () => (await import('./inspect-command.js')).inspectCommand(),
  bench: async () => (await import('./bench-command.js')).benchCommand(),
};

/** All commands, or the one named first. */
async function program(first: string | undefined): Promise<Command> {
  const { version } = JSON.parse(readFileSync(path.join(packageRoot(), 'package.json'), 'utf8')) as {
    version: string;
  };
  const cots = new Command('cots')
    .description('Train, evaluate, embed and search with COTS, a two-stream vision-language model.')
    .version(version)
    .configureOutput({ outputError: (message, write) => write(usageLine(message, 'cots --help')) })
    .addHelpText(
      'after',
      "\nExample:\n  $ cots train --config configs/demo.yaml\n  $ cots search runs/demo/index 'a red bus'",
    );
  const called = first !== undefined && Object.hasOwn(commands, first) ? [first] : Object.keys(commands);
  for (const name of called) cots.addCommand(await (commands[name] as () => Promise<Command>)());
  for (const command of everyCommand(cots)) command.exitOverride();
  return cots;
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

// A reader that closed the pipe (`cots ... | head`) is no failure; one that reads no notes does not end the work.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  process.exit(reportFailure(fileError(error, 'write to', 'stdout'), false));
});
process.stderr.on('error', () => {});

try {
  const [first] = process.argv.slice(2);
  const cots = await program(first);
  const isKnown =
    first === undefined || first.startsWith('-') || cots.commands.some((one) => one.name() === first);
  // A wrong command is told as such, whatever stands behind it (`cots trane --help`).
  await cots.parseAsync(isKnown || first === 'help' ? process.argv : process.argv.slice(0, 3));
} catch (error) {
  process.exitCode = reportFailure(error, process.argv.includes('--verbose'));
}
