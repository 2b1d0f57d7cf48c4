import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { packageRoot } from '../../../lib/binding.js';
import { cleanCaption } from '../../../lib/data/text/clean.js';

const rows = JSON.parse(
  readFileSync(path.join(packageRoot(), 'test/reference/fixtures/text/cleaned.json'), 'utf8'),
) as { caption: string; cleaned: string }[];

test("albef is ALBEF's pre_caption", (t) => {
  t.true(rows.length > 30);
  for (const { caption, cleaned } of rows)
    t.is(cleanCaption(caption, 'albef', 30), cleaned, JSON.stringify(caption.slice(0, 60)));
});

test('words are cut at maxWords, 0 keeps all, none changes nothing', (t) => {
  t.is(cleanCaption('One two-three', 'albef', 2), 'one two');
  t.is(cleanCaption('w '.repeat(10_000), 'albef', 0).split(' ').length, 10_000);
  t.is(cleanCaption(' A, B! ', 'none', 1), ' A, B! ');
});
