/** Every row of the method's table of edge cases (SPEC 3.8) has the test that carries its title. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { packageRoot } from '../lib/binding.js';

const rows = [
  'all pairs filtered (W = 0)',
  'queue not full',
  'random-initialised queue (MoCo/ALBEF/BriVL style [V])',
  'include_positive false and n = 0',
  'same image (or same text) in the queue',
  'all columns of a row masked',
  'σ = 0',
  'N_q mod B ≠ 0, B > N_q',
  'non-finite momentum key or score',
  'non-finite online feature, loss or gradient norm',
  '‖z‖ = 0',
  'p underflow',
  'fp16 asked for in training',
  'EMA at resume',
];

/** The titles in the sources of both runners; a commented or skipped case is not one. */
function testTitles(): string[] {
  const folder = path.join(packageRoot(), 'test');
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return sources.flatMap((file) => {
    const declaration = file.endsWith('.cpp')
      ? /^TEST_CASE\("([^"]+)"\) \{/gm
      : file.endsWith('.test.ts')
        ? /^test(?:\.serial)?\('([^']+)',/gm
        : undefined;
    if (declaration === undefined) return [];
    const text = readFileSync(path.join(folder, file), 'utf8');
    return [...text.matchAll(declaration)].map(([, title]) => title as string);
  });
}

test('each row of the edge cases has exactly one test of its title', (t) => {
  const titles = testTitles();
  t.true(titles.length > 300);
  for (const row of rows) t.is(titles.filter((title) => title === row).length, 1, row);
});
