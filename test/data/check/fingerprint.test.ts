import test from 'ava';
import { fingerprint } from '../../../lib/data/check/fingerprint.js';
import { decodeImage } from '../../../lib/data/decode.js';
import { fixturePath, readSettings } from '../../support/fixtures.js';

const hex = (word: number): string => word.toString(16).padStart(8, '0');

test('the hash is that of imagehash, bit for bit (test/reference/make_hash_fixtures.py)', async (t) => {
  const expected = readSettings<Record<string, string>>('hashes');
  t.true(Object.keys(expected).length > 25);
  for (const [file, want] of Object.entries(expected)) {
    const { hash } = await fingerprint(await decodeImage(fixturePath(file)));
    t.is(hex(hash[0]) + hex(hash[1]), want, file);
  }
});
