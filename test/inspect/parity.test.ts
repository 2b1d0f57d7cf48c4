/** `cots doctor --parity`: reference arrays of transformers, and what is wrong with others. */
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { checkParity } from '../../lib/inspect/parity.js';
import { readReferenceArray } from '../../lib/inspect/reference-arrays.js';
import { importClip } from '../../lib/model/import-clip.js';
import { cots } from '../support/cli.js';
import { temporaryFolder } from '../support/tiny.js';
import { awkwardTexts, referenceFloats, referenceIds, weightsFolder } from '../support/weights.js';

function npy(descr: string, shape: readonly number[], bytes: Uint8Array): Buffer {
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }`;
  const text = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11);
  const start = Buffer.from(`\x93NUMPY\x01\x00\x00\x00${text}\n`, 'latin1');
  start.writeUInt16LE(text.length + 1, 8);
  return Buffer.concat([start, bytes]);
}

const bytesOf = (data: Float32Array | BigInt64Array): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** What docs/make_parity.py writes for the fixture's CLIP. */
async function makeFolder(t: Parameters<typeof temporaryFolder>[0]): Promise<string> {
  const folder = await temporaryFolder(t);
  await importClip({ model: weightsFolder('clip'), out: path.join(folder, 'model') });
  await cp(weightsFolder('images'), path.join(folder, 'images'), { recursive: true });
  await writeFile(path.join(folder, 'texts.json'), JSON.stringify(awkwardTexts));
  const ids = referenceIds('clip');
  const columns = Math.max(...ids.map(({ length }) => length));
  const padded = BigInt64Array.from(
    ids.flatMap((row) => [...row, ...Array(columns - row.length).fill(0)].map(BigInt)),
  );
  for (const [name, descr, shape, data] of [
    ['pixel_values', '<f4', [4, 3, 32, 32], referenceFloats('clip.pixels')],
    ['image_embeddings', '<f4', [4, 16], referenceFloats('clip.image_embedding').map((value) => 3 * value)],
    ['input_ids', '<i8', [ids.length, columns], padded],
    ['text_embeddings', '<f4', [ids.length, 16], referenceFloats('clip.text_embedding')],
  ] as const)
    await writeFile(path.join(folder, `${name}.npy`), npy(descr, shape, bytesOf(data)));
  return folder;
}

test('every array of transformers is met: pixels, ids, embeddings of any length', async (t) => {
  const { ok, comparisons } = await checkParity(await makeFolder(t));
  t.true(ok, JSON.stringify(comparisons));
  t.deepEqual(
    comparisons.map(({ name }) => name),
    ['pixel_values.npy', 'image_embeddings.npy', 'input_ids.npy', 'text_embeddings.npy'],
  );
  t.true(comparisons.every(({ cosine }) => cosine === null || cosine.min > 0.999999));
});

test('the command says where a model is off, and ends with 1', async (t) => {
  const folder = await makeFolder(t);
  const right = await cots('doctor', '--parity', folder);
  t.is(right.code, 0, right.stderr);
  t.regex(right.stdout, /^ok {4}image_embeddings\.npy.*cosine at least 1\.0000000/m);
  const file = path.join(folder, 'text_embeddings.npy');
  const bytes = await readFile(file);
  bytes.writeFloatLE(0.5, bytes.length - 4);
  await writeFile(file, bytes);
  const wrong = await cots('doctor', '--parity', folder, '--json');
  t.is(wrong.code, 1);
  const report = JSON.parse(wrong.stdout) as Awaited<ReturnType<typeof checkParity>>;
  t.deepEqual(
    report.comparisons.filter(({ ok }) => !ok).map(({ name }) => name),
    ['text_embeddings.npy'],
  );
});

test("other ids, NaN and a preprocessing that is not the model's do not pass", async (t) => {
  const folder = await makeFolder(t);
  const change = async (name: string, offset: number, value: number): Promise<void> => {
    const bytes = await readFile(path.join(folder, name));
    if (name === 'input_ids.npy') bytes.writeBigInt64LE(BigInt(value), bytes.indexOf('\n') + 1 + offset);
    else bytes.writeFloatLE(value, bytes.indexOf('\n') + 1 + offset);
    await writeFile(path.join(folder, name), bytes);
  };
  await change('input_ids.npy', 0, 3);
  await change('pixel_values.npy', 40, 9);
  await change('image_embeddings.npy', 8, Number.NaN);
  const { ok, comparisons } = await checkParity(folder, { tolerance: 1e-3 });
  t.false(ok);
  t.deepEqual(
    comparisons.map((one) => one.ok),
    [false, false, false, true],
  );
});

test('a folder without arrays, arrays of other inputs and files that are no arrays are refused', async (t) => {
  const folder = await makeFolder(t);
  await t.throwsAsync(() => checkParity(weightsFolder('images')), {
    code: 'ERR_COTS_DATA',
    message: /found neither/,
  });
  await writeFile(path.join(folder, 'texts.json'), JSON.stringify(awkwardTexts.slice(1)));
  await t.throwsAsync(() => checkParity(folder), {
    code: 'ERR_COTS_DATA',
    message: /input_ids\.npy to have the shape/,
  });
  await rm(path.join(folder, 'input_ids.npy'));
  await t.throwsAsync(() => checkParity(folder), {
    code: 'ERR_COTS_DATA',
    message: /text_embeddings\.npy to have the shape \[23, 16\]/,
  });
  await writeFile(path.join(folder, 'texts.json'), '{"no": "list"}');
  await t.throwsAsync(() => checkParity(folder), { code: 'ERR_COTS_DATA', message: /an array of texts/ });
});

test('arrays of every type that a reference has', async (t) => {
  const folder = await temporaryFolder(t);
  await mkdir(folder, { recursive: true });
  const file = path.join(folder, 'a.npy');
  for (const [descr, bytes] of [
    ['<f2', Uint8Array.of(0x00, 0x3e, 0x00, 0xc0)],
    ['<f4', new Uint8Array(Float32Array.of(1.5, -2).buffer)],
    ['<f8', new Uint8Array(Float64Array.of(1.5, -2).buffer)],
  ] as const) {
    await writeFile(file, npy(descr, [2], bytes));
    t.deepEqual(await readReferenceArray(file), { shape: [2], data: Float64Array.of(1.5, -2) }, descr);
  }

  await writeFile(file, npy('<c8', [2], new Uint8Array(16)));
  await t.throwsAsync(() => readReferenceArray(file), { message: /C-ordered array/ });
  await writeFile(file, npy('<f4', [3], new Uint8Array(8)));
  await t.throwsAsync(() => readReferenceArray(file), { message: /cut short/ });
  await writeFile(file, 'no array');
  await t.throwsAsync(() => readReferenceArray(file), { message: /other bytes/ });
});
