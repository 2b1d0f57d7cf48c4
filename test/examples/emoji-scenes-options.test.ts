/** Options of the emoji scenes that cannot be met are refused with a sentence; abort and a bad folder too. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import test from 'ava';
import { generateScenes } from '../../examples/emoji-scenes/generate.js';
import { nounOf } from '../../examples/emoji-scenes/nouns.js';
import type { SceneOptions } from '../../examples/emoji-scenes/options.js';

const refused = test.macro({
  exec: async (t, given: object, message: RegExp) => {
    await t.throwsAsync(generateScenes({ out: 'never-written', ...given } as SceneOptions), {
      code: 'ERR_COTS_OPTION',
      message,
    });
  },
  title: (_, given) => `refused: ${JSON.stringify(given)}`,
});

test(refused, { count: -1 }, /`count` to be a whole number from 0 to 10000000, got -1/);
test(refused, { count: '5' }, /`count` to be a whole number .* got '5'/);
test(refused, { mismatched: 1.5 }, /`mismatched` to be at least 0 and at most 1, got 1\.5/);
test(refused, { mismatched: 0.1, count: 10 }, /no or at least 2 images, got 0\.1/);
test(refused, { mismatchd: 0.1 }, /Did you mean `mismatched`\?/);
test(refused, { shares: [0, 0, 0] }, /three weights, not all zero/);
test(refused, { size: 8 }, /`size` to be a whole number from 16 to 1024, got 8/);
test(refused, { clips: 1 }, /path of ffmpeg when clips are made/);
test(refused, { clipSize: 97 }, /even, as H\.264 needs, got 97/);
test(refused, { out: '' }, /`out` to be the folder to write/);
test(
  refused,
  { shares: [1, 0, 0], count: 0, test: 2000 },
  /`test` to leave each image its own emoji, got 2000/,
);

test('a file for a folder is refused by name', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'cots-scenes-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const file = path.join(folder, 'file');
  await writeFile(file, '');
  await t.throwsAsync(generateScenes({ out: file, count: 1, validation: 0, test: 0 }), {
    code: 'ERR_COTS_FILE',
    message: /`out` to be a folder that can be written, got .*file: (?:EEXIST|ENOTDIR)/,
  });
});

test('an abort rejects with its reason, leaves no manifest, and nothing is written after it', async (t) => {
  const out = await mkdtemp(path.join(tmpdir(), 'cots-scenes-'));
  t.teardown(() => rm(out, { recursive: true }));
  const stop = new AbortController();
  const reason = new Error('enough');
  let done = 0;
  const onProgress = () => {
    done += 1;
    stop.abort(reason);
  };
  const asked = { count: 500, validation: 0, test: 0, concurrency: 64 };
  t.is(await t.throwsAsync(generateScenes({ ...asked, out, onProgress, signal: stop.signal })), reason);
  const before = done;
  await setTimeout(500);
  t.is(done, before);
  t.true(done <= asked.concurrency);
  t.false((await readdir(out)).includes('manifest.jsonl'));
});

const speaks = test.macro({
  exec: (t, label: string, one: string, many: string) => t.deepEqual(nounOf(label), { one, many }),
  title: (_, label) => `noun: ${label}`,
});

test(speaks, 'strawberry', 'a strawberry', 'strawberries');
test(speaks, 'umbrella', 'an umbrella', 'umbrellas');
test(speaks, 'unicorn', 'a unicorn', 'unicorns');
test(speaks, 'hourglass done', 'an hourglass done', 'hourglasses done');
test(speaks, 'ear of corn', 'an ear of corn', 'ears of corn');
test(speaks, 'goose', 'a goose', 'geese');
test(speaks, 'grapes', 'grapes', 'drawings of grapes');
test(speaks, 'cooked rice', 'cooked rice', 'drawings of cooked rice');
test(speaks, 'Statue of Liberty', 'the Statue of Liberty', 'drawings of the Statue of Liberty');
test(speaks, "two o'clock", "a clock at two o'clock", "clocks at two o'clock");
test(speaks, 'bow and arrow', 'a bow and arrow', 'drawings of a bow and arrow');
