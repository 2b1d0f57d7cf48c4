import { readFile, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { CotsError } from '../../lib/index.js';
import { halfToFloat, readNpy, readNpyShape, writeNpy } from '../../lib/search/npy.js';
import { temporaryFolder } from '../support/tiny.js';

test("what is written is NumPy's format 1.0 and reads back", async (t) => {
  const file = path.join(await temporaryFolder(t), 'a.npy');
  const matrix = { data: Float32Array.of(1, -2.5, 3, 1e-20, 5, 6), shape: [3, 2] as [number, number] };
  await writeNpy(file, matrix);
  const bytes = await readFile(file);
  t.deepEqual([...bytes.subarray(0, 8)], [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]);
  t.is((10 + bytes.readUInt16LE(8)) % 64, 0);
  t.regex(
    bytes.toString('latin1', 10, 128),
    /^\{'descr': '<f4', 'fortran_order': False, 'shape': \(3, 2\), \} *\n$/,
  );
  t.is(bytes.length, 128 + 24);
  t.deepEqual(await readNpy(file), matrix);
});

test('half floats: the values of IEEE 754', (t) => {
  const cases: [number, number][] = [
    [0x3c00, 1],
    [0xc000, -2],
    [0x7bff, 65_504],
    [0x0001, 2 ** -24],
    [0x03ff, 1023 * 2 ** -24],
    [0x0400, 2 ** -14],
    [0x7c00, Infinity],
    [0x3555, 0.333251953125],
    [0, 0],
  ];
  for (const [half, value] of cases) t.is(halfToFloat(half), value);
  t.true(Number.isNaN(halfToFloat(0x7e00)));
});

/** A float16 file as NumPy writes it. */
async function halfFile(
  t: Parameters<typeof temporaryFolder>[0],
  descr = '<f2',
  order = 'False',
): Promise<string> {
  const file = path.join(await temporaryFolder(t), 'half.npy');
  const header = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (1, 2), }`.padEnd(117, ' ');
  await writeFile(
    file,
    Buffer.concat([
      Buffer.from('\x93NUMPY\x01\x00\x76\x00', 'latin1'),
      Buffer.from(`${header}\n`, 'latin1'),
      Buffer.from([0, 0x3c, 0, 0xc0]),
    ]),
  );
  return file;
}

test('float16 files read as float32', async (t) => {
  const file = await halfFile(t);
  t.deepEqual((await readNpyShape(file)).dtype, 'float16');
  t.deepEqual(await readNpy(file), { data: Float32Array.of(1, -2), shape: [1, 2] });
});

test('other arrays, other files and files cut short are refused', async (t) => {
  await t.throwsAsync(async () => readNpy(await halfFile(t, '<f8')), {
    instanceOf: CotsError,
    message: /float32 or float16/,
  });
  await t.throwsAsync(async () => readNpy(await halfFile(t, '<f2', 'True')), {
    instanceOf: CotsError,
    message: /C-ordered/,
  });
  const file = await halfFile(t);
  await truncate(file, 130);
  await t.throwsAsync(() => readNpy(file), { instanceOf: CotsError, message: /cut short/ });
  await writeFile(file, 'hello');
  await t.throwsAsync(() => readNpy(file), { instanceOf: CotsError, message: /a \.npy file/ });
  await t.throwsAsync(() => readNpy('/nowhere.npy'), { instanceOf: CotsError, message: /nowhere\.npy/ });
});
