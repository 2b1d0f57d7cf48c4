/** `cots data pack` killed at any point, forms that shards do not know, and videos. */
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import sharp from 'sharp';
import { decodeImage } from '../../lib/data/decode.js';
import { readMedia } from '../../lib/data/media.js';
import { openDataset } from '../../lib/data/open.js';
import { oneLine } from '../../lib/data/pack/shard-files.js';
import { cots, startCots } from '../support/cli.js';
import { fixturePath } from '../support/fixtures.js';
import { makeShapes, temporaryFolder } from '../support/tiny.js';

const contents = async (folder: string): Promise<Record<string, string>> => {
  const names = (await readdir(folder)).filter((name) => !name.startsWith('.unfinished')).sort();
  const pairs = names.map(async (name) => [
    name,
    (await readFile(path.join(folder, name))).toString('base64'),
  ]);
  return Object.fromEntries(await Promise.all(pairs));
};

test('a run that is killed again and again ends with the bytes of one that was not', async (t) => {
  const folder = await temporaryFolder(t);
  const manifest = await makeShapes(folder, 60);
  const [whole, killed] = [path.join(folder, 'whole'), path.join(folder, 'killed')];
  const args = (out: string): string[] => [
    'data',
    'pack',
    manifest,
    '--out',
    out,
    '--shard-items',
    '4',
    '--size',
    '20',
  ];
  t.is((await cots(...args(whole))).code, 0);
  let kills = 0;
  for (let wait = 0; kills < 6; wait += 1) {
    const { child, ended } = startCots(args(killed));
    // As soon as a further shard stands there.
    const before = (await readdir(killed).catch(() => [])).length;
    const timer = setInterval(async () => {
      if ((await readdir(killed).catch(() => [])).length > before + (wait % 3)) child.kill('SIGKILL');
    }, 1);
    const { signal } = await ended;
    clearInterval(timer);
    if (signal === null) break;
    kills++;
  }

  t.true(kills >= 3, `killed ${kills} times`);
  t.is((await cots(...args(killed))).code, 0);
  t.deepEqual(await contents(killed), await contents(whole));
});

test('a form that shards do not know becomes PNG with the same pixels; an ending that lies is set right', async (t) => {
  const folder = await temporaryFolder(t);
  const pixels = { width: 9, height: 7, channels: 3 } as const;
  const image = sharp({ create: { ...pixels, background: '#3a7' } });
  await image.clone().tiff().toFile(path.join(folder, 'a.tif'));
  await image.clone().png().toFile(path.join(folder, 'b.jpg.png'));
  await cp(path.join(folder, 'b.jpg.png'), path.join(folder, 'c.jpg'));
  const out = path.join(folder, 'shards');
  t.is((await cots('data', 'pack', folder, '--out', out)).code, 0);
  const { entries } = await openDataset(out);
  t.deepEqual(
    entries.map(({ image: location }) => path.extname(location as string)),
    ['.png', '.png', '.png'],
  );
  const wanted = await decodeImage(path.join(folder, 'a.tif'));
  t.deepEqual(Buffer.from((await decodeImage(entries[0]?.image as string)).data), Buffer.from(wanted.data));
});

test('videos go into shards as they are', async (t) => {
  const folder = await temporaryFolder(t);
  const clips = fixturePath('formats/clips/MSRVTT_data.json');
  const out = path.join(folder, 'shards');
  await mkdir(out);
  t.is((await cots('data', 'pack', clips, '--out', out, '--size', '16')).code, 0);
  const { entries } = await openDataset(out);
  t.is(entries.length, 4);
  for (const [index, { video, captions }] of entries.entries()) {
    t.deepEqual(
      await readMedia(video as string, 'a video'),
      await readFile(fixturePath(`formats/clips/videos/all/video${index}.mp4`)),
    );
    t.is(captions.length, 2);
  }
});

test('no caption breaks a line of the text file; the JSON file has it as it is', async (t) => {
  const caption = 'one\r\ntwo\u2028three \u0085 four\u0000\tfive\u000bsix';
  t.is(oneLine(caption), 'one two three four\u0000\tfive six');
  const folder = await temporaryFolder(t);
  await makeShapes(folder, 1);
  await writeFile(
    path.join(folder, 'manifest.jsonl'),
    JSON.stringify({ id: '1', image: 'images/train-0.png', captions: [caption, 'plain'] }),
  );
  const out = path.join(folder, 'shards');
  t.is((await cots('data', 'pack', folder, '--out', out)).code, 0);
  t.deepEqual((await openDataset(out)).entries[0]?.captions, [caption, 'plain']);
});
