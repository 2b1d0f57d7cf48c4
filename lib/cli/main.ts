#!/usr/bin/env node
/** The command line: one binary, a file a command. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { packageRoot } from '../binding.js';
import { benchCommand } from './bench-command.js';
import { addMissing, usageLine } from './command.js';
import { dataCommand } from './data-command.js';
import { doctorCommand } from './doctor-command.js';
import { embedCommand } from './embed-command.js';
import { evalCommand } from './eval-command.js';
import { importCommand } from './import-command.js';
import { indexCommand } from './index-command.js';
import { reportFailure } from './output.js';
import { searchCommand } from './search-command.js';
import { trainCommand } from './train-command.js';
import { trainTokenizerCommand } from './train-tokenizer-command.js';

function program(): Command {
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
  const commands = [
    doctorCommand(),
    trainCommand(),
    trainTokenizerCommand(),
    evalCommand(),
    embedCommand(),
    indexCommand(),
    searchCommand(),
    dataCommand(),
    importCommand(),
    benchCommand(),
  ];
  for (const command of commands) cots.addCommand(command);
  addMissing(cots, ['export', 'inspect']);
  for (const command of everyCommand(cots)) command.exitOverride();
  return cots;
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

// A reader that closed the pipe (`cots ... | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  await program().parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, process.argv.includes('--verbose'));
}
