import test from 'ava';
import sharp, { type Sharp } from 'sharp';
import { type Fingerprint, fingerprint, thumbnailBytes } from '../../../lib/data/check/fingerprint.js';
import { NearDuplicates, nearRule } from '../../../lib/data/check/near-duplicates.js';
import { decodeImage } from '../../../lib/data/decode.js';
import { KeyedRandom, sites } from '../../../lib/data/random.js';

const random = new KeyedRandom(3, sites.crop);
const word = (): number => random.below(2 ** 32);
const gray = (level: number): Uint8Array => new Uint8Array(thumbnailBytes).fill(level);

/** Every pair compared, by the rule as it is documented. */
function byAll(prints: readonly Fingerprint[]): Set<string> {
  const bits = (a: number, b: number): number => ((a ^ b) >>> 0).toString(2).replaceAll('0', '').length;
  const near = new Set<string>();
  for (const [i, one] of prints.entries()) {
    for (const [j, other] of prints.entries()) {
      const distance = bits(one.hash[0], other.hash[0]) + bits(one.hash[1], other.hash[1]);
      if (j <= i || distance > nearRule.bits) continue;
      const levels = one.thumbnail.reduce(
        (sum, value, at) => sum + Math.abs(value - (other.thumbnail[at] as number)),
        0,
      );
      if (levels / thumbnailBytes <= nearRule.levels) near.add(`${i},${j}`);
    }
  }

  return near;
}

test('the bands find every pair that comparing all with all finds', (t) => {
  const prints: Fingerprint[] = [];
  for (let index = 0; index < 300; index++) {
    const base: [number, number] = [word(), word()];
    prints.push({ hash: base, thumbnail: gray(100) });
    // A copy with 0 to 6 bits turned, its colors 0 to 12 levels away.
    const copy: [number, number] = [...base];
    for (let turned = 0; turned < index % 7; turned++) {
      const bit = random.below(64);
      copy[bit < 32 ? 0 : 1] = (copy[bit < 32 ? 0 : 1] ^ (1 << (bit % 32))) >>> 0;
    }

    prints.push({ hash: copy, thumbnail: gray(100 + (index % 13)) });
  }

  const near = new NearDuplicates();
  for (const [index, print] of prints.entries()) near.add(String(index), print);
  const found = near.groups().map((group) => group.join(','));
  t.deepEqual(new Set(found), byAll(prints));
  t.true(found.length > 100 && found.length < 250, String(found.length));
});

test('equal bytes are a group however many; flat pictures of other colors are not', (t) => {
  const near = new NearDuplicates();
  for (let index = 0; index < 2000; index++) near.add('the same', { hash: [0, 0], thumbnail: gray(0) });
  for (const level of [50, 100, 150]) near.add(`level ${level}`, { hash: [0, 0], thumbnail: gray(level) });
  t.deepEqual(
    near.groups().map((group) => group.length),
    [2000],
  );
});

test('a smaller copy in JPEG is a near duplicate; a mirrored one and another color are not', async (t) => {
  const pixels = Buffer.alloc(3 * 200 * 150);
  for (let at = 0; at < pixels.length; at += 3) {
    const [x, y] = [(at / 3) % 200, Math.floor(at / 600)];
    const inside = x > 30 && x < 110 && y > 40 && y < 100;
    pixels.set(inside ? [200, 40 + (x % 50), 30] : [x, 200 - y, 120], at);
  }

  const original = sharp(pixels, { raw: { width: 200, height: 150, channels: 3 } });
  const print = async (image: Sharp): Promise<Fingerprint> =>
    fingerprint(await decodeImage(await image.toBuffer()));
  const versions = [
    original.clone().png(),
    original.clone().resize(100).jpeg({ quality: 70 }),
    original.clone().flop().png(),
    original
      .clone()
      .recomb([
        [0, 0, 1],
        [0, 1, 0],
        [1, 0, 0],
      ])
      .png(),
  ];
  const near = new NearDuplicates();
  for (const [index, version] of versions.entries()) near.add(String(index), await print(version));
  t.deepEqual(near.groups(), [[0, 1]]);
});
