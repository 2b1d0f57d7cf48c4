import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { resolveConfig } from '../../../lib/config/load.js';
import { CaptionEncoder, captionRules, textTokenizerFor } from '../../../lib/data/text/captions.js';
import { TextTokenizer } from '../../../lib/data/text/tokenizer.js';
import { countWords, makeVocabulary } from '../../../lib/data/text/vocabulary.js';
import { temporaryFolder } from '../temporary.js';

const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
const counts = (words: Record<string, number>) => new Map(Object.entries(words));

test('words are counted as BERT cuts them', async (t) => {
  const counted = await countWords(['A Caf\u00e9, a bus!', 'bus \u4e2d\u6587 \u03a3\u0391\u03a3']);
  t.deepEqual(Object.fromEntries(counted), {
    a: 2,
    cafe: 1,
    ',': 1,
    bus: 2,
    '!': 1,
    '\u4e2d': 1,
    '\u6587': 1,
    '\u03c3\u03b1\u03c3': 1,
  });
});

test('letters, then the most frequent pairs joined; ties in order', (t) => {
  const made = makeVocabulary(counts({ low: 5, lower: 2, newest: 6, widest: 3 }), { size: 25 });
  t.deepEqual(made.slice(0, 16), [
    ...special,
    '##d',
    '##e',
    '##i',
    '##o',
    '##r',
    '##s',
    '##t',
    '##w',
    'l',
    'n',
    'w',
  ]);
  // es and est 9; ow and low 7 (of pairs that occur as often the first in order); ew, ewest, newest 6; dest, idest 3
  t.deepEqual(made.slice(16), [
    '##es',
    '##est',
    '##ow',
    'low',
    '##ew',
    '##ewest',
    'newest',
    '##dest',
    '##idest',
  ]);
});

test('the size holds, rare pairs stay apart, the result is the same each time', (t) => {
  const words = counts({ alpha: 9, alphabet: 4, beta: 3, once: 1 });
  const full = makeVocabulary(words, { size: 1000 });
  t.deepEqual(makeVocabulary(words, { size: 1000 }), full);
  t.true(full.includes('alphabet') && full.includes('beta') && !full.includes('once'));
  t.is(new Set(full).size, full.length);
  const small = makeVocabulary(words, { size: full.length - 1 });
  t.deepEqual(small, full.slice(0, -1));
});

test('letters beyond the limit are left out with their words', (t) => {
  const made = makeVocabulary(counts({ aa: 5, ab: 4, zz: 2 }), { size: 100, letters: 2 });
  t.deepEqual(made, [...special, '##a', '##b', 'a', 'aa', 'ab']);
  t.regex(
    t.throws(() => makeVocabulary(new Map(), { size: 100 }))?.message ?? '',
    /^Expected captions with words and a vocabulary of more than 6, got 0 words and size 100\./,
  );
});

test('a run makes its vocabulary from cleaned captions, within model.text.vocabSize', async (t) => {
  const config = resolveConfig({ model: { text: { vocabSize: 40 } } }, [], 'plan');
  const captions = Array.from({ length: 50 }, () => 'The RED bus, and a dog!');
  const tokenizer = await textTokenizerFor(config, captions);
  t.true(tokenizer.vocabSize <= 40);
  t.deepEqual(tokenizer.words('the red bus and a dog'), ['the', 'red', 'bus', 'and', 'a', 'dog']);
  t.deepEqual(tokenizer.words('!'), ['[UNK]']);
  const encoder = new CaptionEncoder(tokenizer, captionRules(config));
  t.is(encoder.encode('The RED bus'), encoder.encode('The RED bus'));
  t.deepEqual(encoder.encode('The, RED bus!'), tokenizer.encode('the red bus'));
});

test('the store of ids is bounded', (t) => {
  const tokenizer = TextTokenizer.fromVocabulary([...special, 'a']);
  const encoder = new CaptionEncoder(tokenizer, { clean: 'none', maxWords: 0, maxLength: 9 }, 500);
  t.is(encoder.encode('aa'), encoder.encode('aa')); // some 400 bytes
  t.not(encoder.encode('a a'), encoder.encode('a a'));
  t.deepEqual(encoder.encode('a a'), encoder.encode('a a'));
});

test('a vocabulary that is too large for the model is refused', async (t) => {
  const file = path.join(await temporaryFolder(t), 'vocab.txt');
  await writeFile(file, `${[...special, 'a', 'b', 'c', 'd'].join('\n')}\n`);
  const config = resolveConfig({ model: { text: { vocabSize: 8 } }, data: { vocabulary: file } }, [], 'plan');
  const error = (await t.throwsAsync(textTokenizerFor(config, []))) as Error & { code: string };
  t.is(error.code, 'ERR_COTS_CONFIG');
  t.is(
    error.message,
    `Expected \`model.text.vocabSize\` to be at least the 9 words of ${file}, got 8. Set model.text.vocabSize=9.`,
  );
  const fitting = resolveConfig(config, ['model.text.vocabSize=9'], 'plan');
  t.is((await textTokenizerFor(fitting, [])).vocabSize, 9);
});
