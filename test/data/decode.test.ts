import { chmod, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import sharp from 'sharp';
import { binding, packageRoot } from '../../lib/binding.js';
import { decodeImage, type ImageInput } from '../../lib/data/decode.js';
import { temporaryFolder } from './temporary.js';

const folder = path.join(packageRoot(), 'test/reference/fixtures/images');

interface Pixels {
  width: number;
  height: number;
  rgb: string;
}
type Expected = Record<string, { mode: string; expected: Pixels; unturned?: Pixels }>;
const expected = JSON.parse(await readFile(path.join(folder, 'expected.json'), 'utf8')) as Expected;

const draftFixtures = path.join(packageRoot(), 'test/reference/fixtures');
const drafts = JSON.parse(await readFile(path.join(draftFixtures, 'draft/expected.json'), 'utf8')) as Record<
  string,
  Record<string, Pixels>
>;

for (const [name, { mode, expected: turned, unturned }] of Object.entries(expected)) {
  test(`the bytes of Pillow's convert('RGB'): ${name} (${mode})`, async (t) => {
    const image = await decodeImage(path.join(folder, name));
    t.deepEqual([image.width, image.height], [turned.width, turned.height]);
    t.deepEqual(Buffer.from(image.data), Buffer.from(turned.rgb, 'base64'));
    const left = await decodeImage(path.join(folder, name), { exifRotate: false });
    const want = unturned ?? turned;
    t.deepEqual([left.width, left.height], [want.width, want.height]);
    t.deepEqual(Buffer.from(left.data), Buffer.from(want.rgb, 'base64'));
  });
}

for (const [name, sizes] of Object.entries(drafts)) {
  for (const [shrink, small] of Object.entries(sizes)) {
    test(`the bytes of Pillow's draft: ${name} at 1/${shrink} (test/reference/make_draft_fixtures.py)`, async (t) => {
      const file = path.join(draftFixtures, name);
      const whole = await decodeImage(file);
      // As few pixels as this part of the size leaves, so that half of it would be too small.
      const least = Math.floor(Math.min(whole.width, whole.height) / Number(shrink));
      const image = await decodeImage(file, { least });
      const want = binding().info().jpeg
        ? small
        : { ...whole, rgb: Buffer.from(whole.data).toString('base64') };
      t.deepEqual([image.width, image.height], [want.width, want.height]);
      t.deepEqual(Buffer.from(image.data), Buffer.from(want.rgb, 'base64'));
    });
  }
}

test('an image is decoded at its own size where a part would leave too few pixels', async (t) => {
  const file = path.join(draftFixtures, 'draft/turned.jpg');
  const whole = await decodeImage(file);
  t.deepEqual([whole.width, whole.height], [53, 75]);
  t.deepEqual(await decodeImage(file, { least: 27 }), whole);
  t.deepEqual(
    await decodeImage(path.join(folder, 'rgb.png'), { least: 1 }),
    await decodeImage(path.join(folder, 'rgb.png')),
  );
});

test('a JPEG that is cut is refused at a part of its size too', async (t) => {
  const bytes = await readFile(path.join(draftFixtures, 'draft/turned.jpg'));
  const cut = bytes.subarray(0, bytes.length - 200);
  await t.throwsAsync(decodeImage(cut, { least: 8 }), { code: 'ERR_COTS_IMAGE', message: /decoded whole/ });
});

test('fixtures hold the awkward kinds', (t) => {
  const modes = new Set(Object.values(expected).map(({ mode }) => mode));
  for (const mode of ['RGB', 'RGBA', 'LA', 'L', '1', 'P', 'CMYK', 'I;16']) t.true(modes.has(mode), mode);
  t.is(Object.values(expected).filter(({ unturned }) => unturned !== undefined).length, 7);
});

test('a path, a URL, bytes and pixels are one image', async (t) => {
  const file = path.join(folder, 'rgb.png');
  const fromPath = await decodeImage(file);
  t.deepEqual(await decodeImage(pathToFileURL(file)), fromPath);
  t.deepEqual(await decodeImage(await readFile(file)), fromPath);
  t.deepEqual(await decodeImage({ data: fromPath.data, width: 7, height: 9 }), fromPath);
});

async function refusal(t: { throwsAsync: (work: Promise<unknown>) => Promise<unknown> }, input: ImageInput) {
  const error = (await t.throwsAsync(decodeImage(input))) as Error & { code: string };
  return [error.code, error.message];
}

test('a truncated JPEG is refused', async (t) => {
  const whole = await sharp({
    create: {
      width: 200,
      height: 200,
      channels: 3,
      background: 'red',
      noise: { type: 'gaussian', mean: 128, sigma: 60 },
    },
  })
    .jpeg()
    .toBuffer();
  for (const share of [0.3, 0.6, 0.95]) {
    const [code, message] = await refusal(t, whole.subarray(0, Math.floor(whole.length * share)));
    t.is(code, 'ERR_COTS_IMAGE');
    t.regex(
      message ?? '',
      /^Expected the bytes given to be an image that can be decoded whole, got: (its data ends early or is broken|VipsJpeg: premature end of JPEG image)\. Restore it from its source\.$/,
    );
  }
});

test('a 20,000-pixel image is refused before its pixels are decoded', async (t) => {
  const wide = await sharp({ create: { width: 20_000, height: 2, channels: 3, background: 'red' } })
    .png()
    .toBuffer();
  t.deepEqual(await refusal(t, wide), [
    'ERR_COTS_IMAGE',
    'Expected the bytes given to be at most 10000 pixels a side and 100 megapixels, got 20000 x 2. Make it smaller first.',
  ]);
  const edge = await sharp({ create: { width: 10_000, height: 1, channels: 3, background: '#010203' } })
    .png()
    .toBuffer();
  t.is((await decodeImage(edge)).data.length, 30_000);
});

test('what is no image, an empty file, none, a directory', async (t) => {
  const place = await temporaryFolder(t);
  const at = (name: string) => path.join(place, name);
  await writeFile(at('empty.jpg'), '');
  t.deepEqual(await refusal(t, at('empty.jpg')), [
    'ERR_COTS_IMAGE',
    `Expected ${at('empty.jpg')} to be an image, got an empty file. Remove it or restore it from its source.`,
  ]);
  await writeFile(at('text.jpg'), 'not an image');
  t.deepEqual(await refusal(t, at('text.jpg')), [
    'ERR_COTS_IMAGE',
    `Expected ${at('text.jpg')} to be an image that can be decoded whole, got: Input buffer contains unsupported image format. Restore it from its source.`,
  ]);
  t.deepEqual(await refusal(t, at('none.jpg')), [
    'ERR_COTS_FILE',
    `Expected to read an image at ${at('none.jpg')}, got no such file or directory. Check the path.`,
  ]);
  t.deepEqual(await refusal(t, place), [
    'ERR_COTS_FILE',
    `Expected to read an image at ${place}, got a directory where a file is needed. Name a file.`,
  ]);
  t.deepEqual(await refusal(t, new URL('https://example.org/a.jpg')), [
    'ERR_COTS_OPTION',
    'Expected an image URL to be a file: URL, got https://example.org/a.jpg. Download it first and give its path or bytes.',
  ]);
  t.regex(
    (await refusal(t, 7 as never))[1] ?? '',
    /^Expected an image to be a path, a file: URL, a Buffer or \{ data, width, height \}, got 7\.$/,
  );
});

test('pixels of the wrong length are refused', async (t) => {
  for (const wrong of [
    { data: new Uint8Array(11), width: 2, height: 2 },
    { data: new Uint8Array(16), width: 2, height: 2 },
    { data: new Uint8Array(0), width: 0, height: 2 },
    { data: new Float32Array(12), width: 2, height: 2 },
  ]) {
    const [code, message] = await refusal(t, wrong as never);
    t.is(code, 'ERR_COTS_OPTION');
    t.regex(
      message ?? '',
      /^Expected pixels to be \{ data, width, height \} with 3 \* width \* height bytes of RGB, got /,
    );
  }
});

test.serial('no permission', async (t) => {
  const place = await temporaryFolder(t);
  const file = path.join(place, 'secret.png');
  await writeFile(file, await readFile(path.join(folder, 'rgb.png')));
  await chmod(file, 0);
  await chmod(place, 0o755);
  const root = process.geteuid?.() === 0; // who may read everything, so that the test steps down meanwhile
  if (root) process.seteuid?.(65_534);
  try {
    t.deepEqual(await refusal(t, file), [
      'ERR_COTS_FILE',
      `Expected to read an image at ${file}, got permission denied. Use a path that this user may use.`,
    ]);
  } finally {
    if (root) process.seteuid?.(0);
  }
});
