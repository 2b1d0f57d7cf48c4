/** The picture of search results: every result at its place, its frame in the color of the truth. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import sharp from 'sharp';
import { writeSearchGrid } from '../../examples/emoji-scenes/grid.js';

type Rgb = [number, number, number];

const plain = async (file: string, [r, g, b]: Rgb): Promise<string> => {
  const create = { width: 48, height: 48, channels: 3, background: { r, g, b } } as const;
  await sharp({ create }).png().toFile(file);
  return file;
};

/** Whether this machine can draw text at all. */
const hasFonts = async (): Promise<boolean> => {
  const svg =
    '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><text y="30" font-size="30">x</text></svg>';
  const { channels } = await sharp(Buffer.from(svg)).stats();
  return (channels[3]?.max ?? 0) > 0;
};

test('a grid shows each result in a frame of its truth, in order', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'cots-grid-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const colors: Rgb[] = [
    [10, 20, 200],
    [200, 180, 10],
    [90, 60, 120],
  ];
  const images = await Promise.all(colors.map((color, i) => plain(path.join(folder, `${i}.png`), color)));
  const [first, second, third] = images as [string, string, string];
  const file = path.join(folder, 'grid.png');
  const rows = [
    {
      query: 'a <dog> & a cat, on a very long and winding road that needs lines',
      results: [
        { image: first, score: 0.9, correct: true },
        { image: second, score: 0.1, correct: false },
      ],
    },
    { query: 'short', results: [{ image: third, score: -0.25 }] },
  ];
  await writeSearchGrid({ rows, file });
  const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true });
  const at = (x: number, y: number): number[] => [
    ...data.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3),
  ];

  // Columns begin at 270 and are 154 wide, rows begin at 16 and are 176 high; a frame is 5 wide.
  t.deepEqual([info.width, info.height, info.channels], [270 + 2 * 154 + 16, 2 * 176 + 16, 3]);
  t.deepEqual(at(272, 80), [0x1a, 0x96, 0x41]);
  t.deepEqual(at(272 + 154, 80), [0xd7, 0x19, 0x1c]);
  t.deepEqual(at(272, 80 + 176), [0x9e, 0x9e, 0x9e]);
  t.deepEqual([at(340, 80), at(340 + 154, 80), at(340, 80 + 176)], colors);

  const dark = (left: number, top: number, width: number, height: number): number => {
    let found = 0;
    for (let y = top; y < top + height; y++)
      for (let x = left; x < left + width; x++) if ((at(x, y)[0] ?? 255) < 128) found += 1;
    return found;
  };
  if (await hasFonts()) {
    t.true(dark(0, 16, 265, 150) > 200, 'the query is written');
    t.true(dark(0, 16, 265, 150) > 3 * dark(0, 16 + 176, 265, 150), 'and the longer one has more ink');
    t.true(dark(300, 156, 80, 22) > 20, 'the score is written');
  } else {
    t.log('This machine has no fonts: text cannot be drawn, nor checked.');
  }
  t.is(dark(300 + 154, 156 + 176, 80, 22), 0, 'nothing where there is no result');
});

test('an image that is not there is an error', async (t) => {
  const rows = [{ query: 'x', results: [{ image: 'no-such.png', score: 1 }] }];
  await t.throwsAsync(writeSearchGrid({ rows, file: 'never-written.png' }), { message: /no-such\.png/ });
});
