/** The emoji scenes as a data set: the same bytes for the same seed, splits that do not meet, captions and boxes that are true. */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import sharp from 'sharp';
import { seenArtists, unseenArtist } from '../../examples/emoji-scenes/artists.js';
import { type Concept, loadConcepts } from '../../examples/emoji-scenes/concepts.js';
import { generateScenes, type ImageRow } from '../../examples/emoji-scenes/generate.js';
import { resolveSceneOptions, type SceneOptions } from '../../examples/emoji-scenes/options.js';
import { planImages, type Split } from '../../examples/emoji-scenes/split.js';

/** A small data set of all splits; 40 test scenes are enough for every layout and number of emoji. */
const small = { count: 120, validation: 20, test: 40, seed: 7, mismatched: 0.25 };
const folders: string[] = [];

const made = async (given: Partial<SceneOptions> = {}): Promise<string> => {
  const out = await mkdtemp(path.join(tmpdir(), 'cots-scenes-'));
  folders.push(out);
  await generateScenes({ ...small, out, ...given });
  return out;
};

test.after.always(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

const rowsOf = async (folder: string): Promise<ImageRow[]> => {
  const text = await readFile(path.join(folder, 'manifest.jsonl'), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as ImageRow);
};

/** One hash over every file of a folder, names included. */
const hashOf = async (folder: string): Promise<string> => {
  const hash = createHash('sha256');
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = names
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
  for (const file of files.sort()) hash.update(path.relative(folder, file)).update(await readFile(file));
  return hash.digest('hex');
};

const conceptsById = async (): Promise<Map<string, Concept>> =>
  new Map((await loadConcepts()).map((concept) => [concept.id, concept]));

const names = (caption: string, concept: Concept | undefined): boolean =>
  concept !== undefined && (caption.includes(concept.noun.one) || caption.includes(concept.noun.many));

/** The content of a row, whatever the order: the same for scenes that show the same things. */
const contentOf = (row: ImageRow): string => [...row.scene.concepts].sort().join('+');

const folder = made();

test('the concepts are those of Unicode groups 3 to 7 that all four artists draw', async (t) => {
  const concepts = await loadConcepts();
  t.true(concepts.length > 800 && concepts.length < 900, String(concepts.length));
  t.is(new Set(concepts.map((concept) => concept.id)).size, concepts.length);
  // OpenMoji gives the name to two drawings, and its data has the mouse wheel under it.
  t.false(concepts.some(({ id }) => id === 'scroll'));
  t.is(new Set(concepts.map((concept) => concept.noun.one)).size, concepts.length);
  t.true(concepts.every((concept) => /^[ -~]+$/.test(concept.noun.one + concept.tags.join(''))));
});

test('the same seed gives the same bytes at any concurrency', async (t) => {
  t.is(await hashOf(await made({ concurrency: 1 })), await hashOf(await made({ concurrency: 7 })));
});

test('another seed gives other scenes', async (t) => {
  const [a, b] = await Promise.all([rowsOf(await folder), rowsOf(await made({ seed: 8 }))]);
  const same = a.filter((row, i) => contentOf(row) === contentOf(b[i] as ImageRow));
  t.true(same.length < a.length / 50, `${same.length} of ${a.length} scenes are equal`);
});

test('each split has as many images as asked, and every image is there', async (t) => {
  const rows = await rowsOf(await folder);
  const count = (split: Split) => rows.filter((row) => row.split === split).length;
  t.deepEqual([count('train'), count('validation'), count('test'), count('unseen')], [120, 20, 40, 40]);
  t.is(new Set(rows.map((row) => row.id)).size, rows.length);
  for (const row of rows) {
    const { width, height, channels } = await sharp(path.join(await folder, row.image)).metadata();
    t.deepEqual([width, height, channels], [48, 48, 3]);
  }
});

test('no scene of one split is in another, at the full size of the demo', async (t) => {
  const plan = planImages(await loadConcepts(), resolveSceneOptions({ out: 'unused', seed: 3 }));
  const keys = (split: Split) =>
    new Set(
      plan
        .filter((image) => image.split === split)
        .map(({ scene: { concepts, background, layout } }) => {
          const content = concepts
            .map((concept) => concept.id)
            .sort()
            .join('+');
          return concepts.length > 1 ? content : `${content} on ${background} ${layout}`;
        }),
    );
  const [train, validation, held, unseen] = [keys('train'), keys('validation'), keys('test'), keys('unseen')];
  t.is(held.size, 1000, 'every test image shows something else');
  t.deepEqual(unseen, held);
  t.deepEqual(
    [...held, ...validation].filter((key) => train.has(key)),
    [],
  );
  t.deepEqual(
    [...held].filter((key) => validation.has(key)),
    [],
  );
  const trained = new Set(
    plan.filter(({ split }) => split === 'train').flatMap(({ scene }) => scene.concepts),
  );
  const asked = plan.filter(({ split }) => split === 'test').flatMap(({ scene }) => scene.concepts);
  t.deepEqual(
    asked.filter((concept) => !trained.has(concept)),
    [],
    'every word of the test is trained on',
  );
});

test('the unseen artist draws the unseen split and nothing else', async (t) => {
  const rows = await rowsOf(await folder);
  for (const { split, source, scene } of rows) {
    t.is(scene.artist === unseenArtist, split === 'unseen');
    t.is(source, `emoji-scenes/${scene.artist}`);
  }
  const seen = new Set(rows.filter((row) => row.split !== 'unseen').map((row) => row.scene.artist));
  t.deepEqual([...seen].sort(), [...seenArtists].sort());
});

test('the unseen split has the scenes and captions of the test split in other drawings', async (t) => {
  const rows = await rowsOf(await folder);
  const [held, unseen] = (['test', 'unseen'] as const).map((split) =>
    rows.filter((row) => row.split === split),
  );
  t.deepEqual(
    unseen?.map((row) => row.captions),
    held?.map((row) => row.captions),
  );
  t.deepEqual(
    unseen?.map((row) => row.scene.concepts),
    held?.map((row) => row.scene.concepts),
  );
  for (const [i, row] of (held ?? []).entries()) {
    const [a, b] = await Promise.all(
      [row.image, unseen?.[i]?.image as string].map(async (image) =>
        readFile(path.join(await folder, image)),
      ),
    );
    t.notDeepEqual(a, b);
  }
});

test('captions are different, name every concept, and are five outside training', async (t) => {
  const byId = await conceptsById();
  for (const row of await rowsOf(await folder)) {
    t.is(row.captions.length, row.split === 'train' ? 2 : 5);
    t.is(new Set(row.captions).size, row.captions.length);
    if (row.mismatched) continue;
    for (const caption of row.captions) {
      for (const id of row.scene.concepts) t.true(names(caption, byId.get(id)), `${id}: ${caption}`);
    }
  }
});

test('captions speak of number, place and color as the scene is', async (t) => {
  const rows = (await rowsOf(await folder)).filter((row) => !row.mismatched);
  const colors = new Set(rows.map((row) => row.scene.background));
  t.is(colors.size, 8);
  let counted = 0;
  for (const { captions, scene } of rows) {
    for (const caption of captions) {
      const color =
        caption.match(/(?:on|an?|,|against an?|on an?) (\w+)(?: background| picture|$)/)?.[1] ?? '';
      if (colors.has(color)) t.is(color, scene.background, caption);
      if (/ (?:on|at) the left$/.test(caption)) t.is(scene.layout, 'left', caption);
      if (/ at the bottom$/.test(caption)) t.true(['bottom', 'stacked'].includes(scene.layout), caption);
      if (scene.concepts.length === 2 && scene.concepts[0] === scene.concepts[1]) {
        t.regex(caption, /\btwo\b/);
        counted += 1;
      }
    }
  }
  t.true(counted > 5, 'some captions count');
});

test('exactly the asked share is mismatched, marked, and shows nothing of its captions', async (t) => {
  const byId = await conceptsById();
  const rows = await rowsOf(await folder);
  const swapped = rows.filter((row) => row.mismatched);
  t.is(swapped.length, 30); // a quarter of 120
  t.true(swapped.every((row) => row.split === 'train'));
  for (const row of swapped) {
    const named = row.scene.concepts.filter((id) =>
      row.captions.every((caption) => names(caption, byId.get(id))),
    );
    t.deepEqual(named, [], row.captions[0]);
  }
  const before = new Map(
    (await rowsOf(await made({ mismatched: 0 }))).map((row) => [row.id, row.captions.join('\n')]),
  );
  const after = swapped.map((row) => row.captions.join('\n'));
  t.deepEqual(
    [...after].sort(),
    swapped.map((row) => before.get(row.id) as string).sort(),
    'captions are swapped, none is lost',
  );
  t.true(
    rows.filter((row) => !row.mismatched).every((row) => before.get(row.id) === row.captions.join('\n')),
  );
});

test('where emoji are few, swapped captions are still of images without a common one', async (t) => {
  const few = (await loadConcepts()).slice(0, 12);
  const options = resolveSceneOptions({ out: 'unused', count: 200, validation: 0, test: 0, mismatched: 1 });
  const right = planImages(few, { ...options, mismatched: 0 });
  const owner = new Map(right.map((image) => [image.captions.join('\n'), image.scene]));
  const swapped = planImages(few, options);
  t.true(swapped.every((image) => image.mismatched));
  for (const image of swapped) {
    const donor = owner.get(image.captions.join('\n'));
    t.deepEqual(
      image.scene.concepts.filter((concept) => donor?.concepts.includes(concept)),
      [],
    );
  }
});

test('boxes lie inside the frame, do not overlap, and hold all that is not background', async (t) => {
  for (const row of (await rowsOf(await folder)).filter(({ split }) => split !== 'train')) {
    const { boxes } = row.scene;
    t.is(boxes.length, row.scene.concepts.length);
    const pixels = await sharp(path.join(await folder, row.image))
      .raw()
      .toBuffer();
    const inside = (x: number, y: number) =>
      boxes.filter(
        ([left, top, width, height]) => x >= left && x < left + width && y >= top && y < top + height,
      ).length;
    for (const [left, top, width, height] of boxes) {
      t.true(left >= 0 && top >= 0 && width > 0 && height > 0 && left + width <= 48 && top + height <= 48);
    }
    // The corner pixels are never all covered: the most frequent one is the background.
    const colors = [0, 47, 48 * 47, 48 * 48 - 1].map((at) => pixels.readUIntBE(at * 3, 3));
    const background = colors.sort((a, b) => count(colors, b) - count(colors, a))[0];
    let drawn = 0;
    for (let at = 0; at < 48 * 48; at++) {
      const holders = inside(at % 48, Math.floor(at / 48));
      t.true(holders <= 1);
      if (pixels.readUIntBE(at * 3, 3) === background) continue;
      drawn += 1;
      t.is(holders, 1, `${row.id} at ${at % 48},${Math.floor(at / 48)}`);
    }
    t.true(drawn > 50, `${row.id} shows something`);
  }
});

function count(list: readonly number[], value: number): number {
  return list.filter((other) => other === value).length;
}
