// Runs stages one after the other, prints the time of each, and ends with the one line "N passed, N failed".

import { writeAtomically } from '../setup/project.mjs';

/** Runs every stage, also after a failure. Returns the total of their counts. */
export async function runStages(stages, args = []) {
  const total = { passed: 0, failed: 0, skipped: 0, notes: [] };
  const lines = [];
  for (const stage of stages) {
    console.log(`\n== ${stage.name}`);
    const start = performance.now();
    const counts = await stage.run(args);
    for (const key of ['passed', 'failed', 'skipped']) total[key] += counts[key];
    total.notes.push(...(counts.notes ?? []));
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    lines.push(`  ${stage.name.padEnd(14)} ${sentence(counts).padEnd(34)} ${seconds.padStart(7)} s`);
  }
  console.log(`\n${lines.join('\n')}\n`);
  return total;
}

export function sentence({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

/** The closing line with what did not run, the exit code, and the counts for a caller that adds several suites up (COTS_TEST_COUNTS). */
export function finish(total) {
  console.log([sentence(total), ...(total.notes ?? [])].join('; '));
  if (process.env.COTS_TEST_COUNTS) writeAtomically(process.env.COTS_TEST_COUNTS, JSON.stringify(total));
  process.exitCode = total.failed > 0 ? 1 : 0;
}
