/** `cots doctor`: what works here, and what to do about the rest. */
import { type Command, Option } from 'commander';
import { CotsError } from '../errors.js';
import { diagnose } from '../inspect/doctor.js';
import { type CommonOptions, newCommand } from './command.js';
import { exitCodes, printResult } from './output.js';

interface Options extends CommonOptions {
  readonly parity?: string;
}

export function doctorCommand(): Command {
  return newCommand('doctor', 'say what is installed, found, built and usable', 'cots doctor')
    .addOption(new Option('--parity <dir>').hideHelp())
    .action(async (options: Options) => {
      if (options.parity !== undefined)
        throw new CotsError(
          'ERR_COTS_NOT_IMPLEMENTED',
          'Expected `cots doctor` without --parity, which this version does not have yet.',
        );
      const diagnosis = await diagnose();
      const marks = { ok: 'ok     ', warning: 'warning', missing: 'MISSING' } as const;
      printResult(
        options,
        diagnosis,
        diagnosis.findings.flatMap(({ name, state, found, advice }) => [
          `${marks[state]}  ${name.padEnd(8)}  ${found}`,
          ...(advice === '' ? [] : [`${' '.repeat(19)}-> ${advice}`]),
        ]),
      );
      if (!diagnosis.ok) process.exitCode = exitCodes.failed;
    });
}
