import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { packageRoot } from '../../../lib/binding.js';
import { TextTokenizer } from '../../../lib/data/text/tokenizer.js';
import { temporaryFolder } from '../temporary.js';

const folder = path.join(packageRoot(), 'test/reference/fixtures/text');
const json = async (file: string): Promise<unknown> => JSON.parse(await readFile(file, 'utf8'));
const rows = (await json(path.join(folder, 'texts.json'))) as { text: string; ids: number[] }[];
const long = rows.pop();

for (const name of ['vocab.txt', 'tokenizer.json']) {
  test(`ids of ${name} are those of BertTokenizerFast, whatever the script`, async (t) => {
    const tokenizer = await TextTokenizer.load(path.join(folder, name));
    t.deepEqual(tokenizer.special, { pad: 0, unk: 1, cls: 2, sep: 3, mask: 4 });
    for (const { text, ids } of rows)
      t.deepEqual([...tokenizer.encode(text)], ids, JSON.stringify(text.slice(0, 60)));
    t.deepEqual([...tokenizer.encode(Array(10_000).fill('dog').join(' '), 40)], long?.ids);
  });
}

test('what is saved is what transformers saves', async (t) => {
  const file = path.join(await temporaryFolder(t), 'tokenizer.json');
  await (await TextTokenizer.load(path.join(folder, 'vocab.txt'))).save(file);
  t.deepEqual(await json(file), await json(path.join(folder, 'tokenizer.json')));
  t.is(
    (await TextTokenizer.load(path.dirname(file))).vocabSize,
    (await TextTokenizer.load(folder)).vocabSize,
  );
});

test('empty text is [CLS][SEP]; a batch is padded to its longest; a cut keeps [SEP]', (t) => {
  const tokenizer = TextTokenizer.fromVocabulary([
    '[PAD]',
    '[UNK]',
    '[CLS]',
    '[SEP]',
    '[MASK]',
    'a',
    'bus',
    '##es',
    '',
  ]);
  t.is(tokenizer.vocabSize, 8);
  t.deepEqual([...tokenizer.encode('')], [2, 3]);
  t.deepEqual(tokenizer.encodeBatch(['a buses', '', 'A zoo bus'], 4), {
    ids: Int32Array.from([2, 5, 6, 3, 2, 3, 0, 0, 2, 5, 1, 3]),
    lengths: Int32Array.of(4, 2, 4),
    columns: 4,
  });
  t.deepEqual(tokenizer.words('a Buses'), ['a', 'bus', '##es']);
  t.deepEqual(tokenizer.pad([]), { ids: new Int32Array(0), lengths: new Int32Array(0), columns: 0 });
});

test('a vocabulary that is none, files that are none', async (t) => {
  const code = (error: unknown) => (error as { code: string }).code;
  const lacking = t.throws(() => TextTokenizer.fromVocabulary(['a', '[PAD]', '[CLS]', '[SEP]']));
  t.is(code(lacking), 'ERR_COTS_TOKENIZER');
  t.is(
    lacking?.message,
    'Expected the vocabulary to have [PAD] [UNK] [CLS] [SEP] [MASK], it lacks [UNK] [MASK]. Use a BERT vocabulary.',
  );
  t.is(
    t.throws(() => TextTokenizer.fromVocabulary(['a', 'b', 'a']))?.message,
    "Expected every word of the vocabulary once, got 'a' on lines 1 and 3. Remove one.",
  );
  const place = await temporaryFolder(t);
  const at = (name: string) => path.join(place, name);
  t.is(
    (await t.throwsAsync(TextTokenizer.load(place)))?.message,
    `Expected a tokenizer in ${place}, found neither tokenizer.json nor vocab.txt nor vocab.json with merges.txt. Put the files of the model's tokenizer there.`,
  );
  await writeFile(at('bad.json'), '{');
  t.regex(
    (await t.throwsAsync(TextTokenizer.load(at('bad.json'))))?.message ?? '',
    /bad\.json to be JSON, got: .* Restore it from its source\.$/,
  );
  await writeFile(at('no-model.json'), '{}');
  t.regex(
    (await t.throwsAsync(TextTokenizer.load(at('no-model.json'))))?.message ?? '',
    /to be a tokenizer\.json with a `model`, got /,
  );
  t.is(code(await t.throwsAsync(TextTokenizer.load(at('none.txt')))), 'ERR_COTS_FILE');
});
