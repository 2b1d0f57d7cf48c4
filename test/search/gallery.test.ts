/** Vectors on disk give what ops.topK gives of them in memory, over several files too. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { unitRows } from '../../lib/bench/synthetic.js';
import type { Matrix } from '../../lib/binding.js';
import { ops } from '../../lib/index.js';
import { Gallery, npyRows } from '../../lib/search/gallery.js';
import { bytesOf, floatToHalf, halfToFloat, writeNpy } from '../../lib/search/npy.js';
import { temporaryFolder } from '../data/temporary.js';

const columns = 24;

/** Rows with equal ones far apart, so that ties cross the files. */
function rowsWithTies(count: number): Matrix {
  const rows = unitRows(count, columns, 1);
  for (const copy of [count - 1, Math.floor(count / 2)]) rows.data.copyWithin(copy * columns, 0, columns);
  return rows;
}

const part = ({ data }: Matrix, begin: number, end: number): Matrix => ({
  data: data.slice(begin * columns, end * columns),
  shape: [end - begin, columns],
});

test('partitions are searched as one gallery', async (t) => {
  const folder = await temporaryFolder(t);
  const rows = rowsWithTies(300);
  const files = [];
  for (const [index, [begin, end]] of [
    [0, 7],
    [7, 7],
    [7, 200],
    [200, 300],
  ].entries()) {
    const file = path.join(folder, `${index}.npy`);
    await writeNpy(file, part(rows, begin as number, end as number));
    files.push(await npyRows(file));
  }

  const gallery = await Gallery.open(files, columns);
  t.deepEqual(gallery.shape, [300, columns]);
  const queries: Matrix = { data: rows.data.slice(0, 3 * columns), shape: [3, columns] };
  for (const k of [1, 5, 50])
    t.deepEqual(await gallery.topK(queries, k), await ops.topK({ queries, gallery: rows, k }));
  t.deepEqual((await gallery.topK(queries, 1000)).shape, [3, 300]);
  gallery.dispose();
  await t.throwsAsync(gallery.topK(queries, 1), { code: 'ERR_COTS_DISPOSED' });
});

test('float16 rows are those of their widened numbers', async (t) => {
  const file = path.join(await temporaryFolder(t), 'vectors.bin');
  const halves = Uint16Array.from(rowsWithTies(100).data, floatToHalf);
  await writeFile(file, bytesOf(halves));
  const widened: Matrix = { data: Float32Array.from(halves, halfToFloat), shape: [100, columns] };
  const gallery = await Gallery.open([{ file, offset: 0, rows: 100, dtype: 'float16' }], columns);
  const queries = unitRows(4, columns, 2);
  t.deepEqual(await gallery.topK(queries, 9), await ops.topK({ queries, gallery: widened, k: 9 }));
  gallery.dispose();
});

test('a number becomes the nearest float16, ties to even', (t) => {
  for (let half = 0; half <= 0x7b_ff; half++) {
    const value = halfToFloat(half);
    const next = half === 0x7b_ff ? 65_536 : halfToFloat(half + 1);
    const middle = (value + next) / 2;
    const even = half % 2 === 0 ? half : half + 1;
    const found = [value, -value, middle, value + (next - value) * 0.49, value + (next - value) * 0.51].map(
      floatToHalf,
    );
    t.deepEqual(found, [half, 0x80_00 | half, even, half, half + 1]);
  }

  t.deepEqual([Infinity, -Infinity, 1e9, Number.NaN].map(floatToHalf), [0x7c_00, 0xfc_00, 0x7c_00, 0x7e_00]);
});

test('a file that is too short for its rows is refused', async (t) => {
  const file = path.join(await temporaryFolder(t), 'vectors.bin');
  await writeFile(file, new Uint8Array(4 * columns));
  await t.throwsAsync(Gallery.open([{ file, offset: 0, rows: 2, dtype: 'float32' }], columns), {
    code: 'ERR_COTS_DATA',
    message: /to have 192 bytes for its vectors, got 96/,
  });
});
