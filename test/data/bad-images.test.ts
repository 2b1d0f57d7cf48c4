/** Pictures that are broken, cut, or made to take a decoder's memory: refused by name, bounded, and the next one is read. */
import { execFile } from 'node:child_process';
import { appendFile, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import sharp from 'sharp';
import { decodeImage } from '../../lib/data/decode.js';
import { temporaryFolder } from './temporary.js';

const noise = () =>
  sharp({
    create: {
      width: 160,
      height: 120,
      channels: 3,
      background: 'red',
      noise: { type: 'gaussian', mean: 128, sigma: 60 },
    },
  });

async function codeOf(input: string | Buffer): Promise<string> {
  return decodeImage(input).then(
    ({ width, height }) => `${width} x ${height}`,
    (error: { code: string }) => error.code,
  );
}

for (const format of ['jpeg', 'png', 'webp', 'gif', 'tiff', 'avif'] as const) {
  test(`a cut ${format} is refused wherever it ends`, async (t) => {
    const whole = await noise().toFormat(format).toBuffer();
    t.is(await codeOf(whole), '160 x 120');
    for (const share of [0.02, 0.3, 0.6, 0.9])
      t.is(await codeOf(whole.subarray(0, Math.floor(whole.length * share))), 'ERR_COTS_IMAGE', `${share}`);
  });
}

/** Every byte that says a size, set so that the header promises `width` x `height`. */
const headers: Record<string, (width: number, height: number) => Promise<Buffer>> = {
  async png(width, height) {
    const bytes = await noise().png().toBuffer();
    bytes.writeUInt32BE(width, 16);
    bytes.writeUInt32BE(height, 20);
    let crc = 0xffffffff;
    for (const byte of bytes.subarray(12, 29)) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }

    bytes.writeUInt32BE((crc ^ 0xffffffff) >>> 0, 29);
    return bytes;
  },
  async jpeg(width, height) {
    const bytes = await noise().jpeg().toBuffer();
    const frame = bytes.indexOf(Buffer.from([0xff, 0xc0]));
    bytes.writeUInt16BE(height, frame + 5);
    bytes.writeUInt16BE(width, frame + 7);
    return bytes;
  },
  async gif(width, height) {
    const bytes = await noise().gif().toBuffer();
    bytes.writeUInt16LE(width, 6);
    bytes.writeUInt16LE(height, 8);
    const frame = bytes.indexOf(Buffer.from([0x2c, 0, 0, 0, 0, 160, 0, 120, 0]));
    bytes.writeUInt16LE(width, frame + 5);
    bytes.writeUInt16LE(height, frame + 7);
    return bytes;
  },
};

for (const [format, header] of Object.entries(headers)) {
  test(`a ${format} that promises 60,000 x 60,000 pixels is refused by its header`, async (t) => {
    const error = await t.throwsAsync(decodeImage(await header(60_000, 60_000)));
    t.regex(error?.message ?? '', /at most 10000 pixels a side and 100 megapixels, got 60000 x 60000/);
  });
}

test('an image of 100,000 pixels a side, and one a pixel high', async (t) => {
  t.is(await codeOf(await (headers['png'] as (typeof headers)[string])(100_000, 100_000)), 'ERR_COTS_IMAGE');
  t.is(await codeOf(await (headers['png'] as (typeof headers)[string])(100_000, 1)), 'ERR_COTS_IMAGE');
});

test('of an animation the first frame alone is decoded', async (t) => {
  const frames = await Promise.all(
    [0, 1, 2].map((frame) =>
      sharp({ create: { width: 8, height: 6, channels: 3, background: { r: 80 * frame, g: 9, b: 9 } } })
        .png()
        .toBuffer(),
    ),
  );
  for (const format of ['gif', 'webp'] as const) {
    const animation = await sharp(frames, { join: { animated: true } })
      .toFormat(format, { lossless: true })
      .toBuffer();
    t.is((await sharp(animation).metadata()).pages, 3);
    const { data, width, height } = await decodeImage(animation);
    t.deepEqual([width, height, data.length], [8, 6, 144]);
    t.true((data[0] as number) < 8, `${data[0]}`);
  }
});

test('a file that vanishes, is cut, or grows while it is read', async (t) => {
  const folder = await temporaryFolder(t);
  const file = path.join(folder, 'a.jpg');
  const bytes = await noise().jpeg().toBuffer();
  await writeFile(file, bytes);
  await appendFile(file, Buffer.alloc(1000)); // bytes after a picture's end are not of it
  t.is(await codeOf(file), '160 x 120');
  await truncate(file, 500);
  t.is(await codeOf(file), 'ERR_COTS_IMAGE');
  await rm(file);
  t.is(await codeOf(file), 'ERR_COTS_FILE');
});

test('a pipe that nobody writes to and a device without end are no files', async (t) => {
  const pipe = path.join(await temporaryFolder(t), 'pipe.jpg');
  await promisify(execFile)('mkfifo', [pipe]);
  for (const file of [pipe, '/dev/zero']) {
    const error = await t.throwsAsync(decodeImage(file));
    t.is(error?.message, `Expected to read an image at ${file}, got a pipe or device. Name a file.`);
  }
});
