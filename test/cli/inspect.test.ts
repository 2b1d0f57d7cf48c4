/** `cots inspect attention` as a user calls it. */
import path from 'node:path';
import test from 'ava';
import sharp from 'sharp';
import { Cots } from '../../lib/index.js';
import { cots } from '../support/cli.js';
import { temporaryFolder } from '../support/tiny.js';

test('a map is painted over the picture, and told as JSON', async (t) => {
  const folder = await temporaryFolder(t);
  const model = await Cots.create({
    image: { size: 32, patch: 8, width: 32, layers: 2, heads: 2 },
    text: { width: 32, layers: 2, heads: 2, vocabSize: 200, maxPositions: 64 },
    embedDim: 16,
  });
  t.teardown(() => model.dispose());
  await model.save(path.join(folder, 'model'));
  const image = path.join(folder, 'half.png');
  await sharp({ create: { width: 60, height: 40, channels: 3, background: '#fff' } })
    .composite([
      {
        input: { create: { width: 30, height: 40, channels: 3, background: '#00f' } },
        left: 0,
        top: 0,
      },
    ])
    .png()
    .toFile(image);
  const out = path.join(folder, 'map.png');
  const call = await cots(
    'inspect',
    'attention',
    image,
    'a bus',
    '--model',
    path.join(folder, 'model'),
    '--out',
    out,
    '--json',
  );
  t.is(call.code, 0, call.stderr);
  const told = JSON.parse(call.stdout) as { map: number[]; grid: number[]; score: number; out: string };
  t.deepEqual(told.grid, [4, 4]);
  t.is(told.map.length, 16);
  t.is(told.out, out);

  const { data, info } = await sharp(out).raw().toBuffer({ resolveWithObject: true });
  t.deepEqual([info.width, info.height, info.channels], [448, 448, 3]);
  // At the middle of each patch: the picture's color with as much red over it as the map says.
  for (const [patch, value] of told.map.entries()) {
    const [row, column] = [Math.floor(patch / 4), patch % 4];
    const at = 3 * ((row * 112 + 56) * 448 + column * 112 + 56);
    const plain = column < 2 ? [0, 0, 255] : [255, 255, 255];
    for (const [channel, red] of [255, 42, 0].entries()) {
      const expected = (plain[channel] as number) * (1 - 0.7 * value) + red * 0.7 * value;
      t.true(Math.abs((data[at + channel] as number) - expected) <= 6, `patch ${patch}, channel ${channel}`);
    }
  }
});
