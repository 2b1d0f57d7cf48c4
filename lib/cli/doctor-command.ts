/** `cots doctor`: what works here, and what to do about the rest; with `--parity`, a model against reference arrays. */
import { type Command, Option } from 'commander';
import type { Comparison } from '../inspect/differences.js';
import { diagnose } from '../inspect/doctor.js';
import { checkParity, type ParityOptions } from '../inspect/parity.js';
import { type CommonOptions, newCommand, positiveNumber } from './command.js';
import { exitCodes, printResult, UsageError } from './output.js';

interface Options extends CommonOptions, ParityOptions {
  readonly parity?: string;
}

export function doctorCommand(): Command {
  return newCommand('doctor', 'say what is installed, found, built and usable', 'cots doctor')
    .option(
      '--parity <dir>',
      "compare a model with another implementation's arrays in this folder (docs/weights.md): differences and cosine",
    )
    .option('--model <dir>', 'with --parity: the model folder (default: DIR/model)')
    .addOption(
      new Option(
        '--tolerance <difference>',
        'with --parity: largest difference of a value that passes (default: 1e-4)',
      ).argParser(positiveNumber),
    )
    .action(async ({ parity, model, tolerance, ...common }: Options) => {
      if (parity !== undefined) {
        await compare(
          parity,
          { ...(model === undefined ? {} : { model }), ...(tolerance === undefined ? {} : { tolerance }) },
          common,
        );
        return;
      }

      if (model !== undefined || tolerance !== undefined)
        throw new UsageError('Expected --model and --tolerance with --parity DIR, got them without.');
      await look(common);
    });
}

async function look(common: CommonOptions): Promise<void> {
  const diagnosis = await diagnose();
  const marks = { ok: 'ok     ', warning: 'warning', missing: 'MISSING' } as const;
  printResult(
    common,
    diagnosis,
    diagnosis.findings.flatMap(({ name, state, found, advice }) => [
      `${marks[state]}  ${name.padEnd(8)}  ${found}`,
      ...(advice === '' ? [] : [`${' '.repeat(19)}-> ${advice}`]),
    ]),
  );
  if (!diagnosis.ok) process.exitCode = exitCodes.failed;
}

async function compare(folder: string, options: ParityOptions, common: CommonOptions): Promise<void> {
  const report = await checkParity(folder, options);
  printResult(common, report, report.comparisons.map(line));
  if (!report.ok) process.exitCode = exitCodes.failed;
}

function line({ name, rows, difference, cosine, tolerance, ok }: Comparison): string {
  const figures = `${rows} rows, largest difference ${difference.max.toExponential(2)}, mean ${difference.mean.toExponential(2)}`;
  const angle =
    cosine === null ? '' : `, cosine at least ${cosine.min.toFixed(7)}, mean ${cosine.mean.toFixed(7)}`;
  return `${ok ? 'ok  ' : 'FAIL'}  ${name.padEnd(20)}  ${figures}${angle}; within ${tolerance}`;
}
