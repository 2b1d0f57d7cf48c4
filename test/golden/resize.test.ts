/** Pillow's resize, byte for byte. */
import test from 'ava';
import { ops } from '../../lib/index.js';
import { pick, readSettings, readTensors } from '../support/fixtures.js';

const { cases } = readSettings<{ cases: { width: number; height: number; to: [number, number] }[] }>(
  'resize',
);

for (const filter of ['bicubic', 'bilinear', 'lanczos'] as const) {
  for (const [index, { width, height, to }] of cases.entries()) {
    test(`${filter} ${width}x${height} to ${to.join('x')} is Pillow's, 0 levels off`, async (t) => {
      const tensors = readTensors('resize');
      const found = await ops.resize({
        data: pick(tensors, `source.${index}`, Uint8Array),
        width,
        height,
        to,
        filter,
      });
      t.deepEqual(Buffer.from(found), Buffer.from(pick(tensors, `${filter}.${index}`, Uint8Array)));
    });
  }
}
