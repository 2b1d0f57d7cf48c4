/** The samples of the soak run: pictures of 64 pixels, and one in a hundred that is bad in a known way. */
import { createWriteStream } from 'node:fs';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import sharp from 'sharp';
import { type Pack, pack } from 'tar-stream';
import { syntheticCaption, uniform } from '../../lib/bench/synthetic.js';

/** Ways of being bad, and the code that the loader must list each under. */
export const badKinds = {
  truncated: 'ERR_COTS_IMAGE',
  'wrong type': 'ERR_COTS_IMAGE',
  bomb: 'ERR_COTS_IMAGE',
  'missing text': 'ERR_COTS_DATA',
} as const;
export type BadKind = keyof typeof badKinds;

const different = 2000;
const oneInBad = 100;
const side = 64;

/** What is wrong with sample `index`; undefined for a good one. One in a hundred is bad, scattered by a hash. */
export function badKindOf(index: number): BadKind | undefined {
  const mixed = Math.imul(index + 1, 0x9e3779b1) >>> 0;
  if (mixed % oneInBad !== 0) return undefined;
  const kinds = Object.keys(badKinds) as BadKind[];
  return kinds[Math.floor(mixed / oneInBad) % kinds.length];
}

/** Key of a sample; its id ends with it. */
function keyOf(index: number): string {
  return String(index).padStart(9, '0');
}

/** Writes `samples` samples in shards of at most `perShard`: 2,000 different pictures, packed again and again. Their paths. */
export async function writeSoakShards(folder: string, samples: number, perShard: number): Promise<string[]> {
  const pictures = await Promise.all(Array.from({ length: different }, (_, seed) => picture(seed)));
  const bomb = await bombPng();
  const random = uniform(7);
  const files: string[] = [];
  for (let begin = 0; begin < samples; begin += perShard) {
    const file = path.join(folder, `${String(files.length).padStart(6, '0')}.tar`);
    const tar = pack();
    const written = pipeline(tar as AsyncIterable<Buffer>, createWriteStream(file));
    for (let index = begin; index < Math.min(begin + perShard, samples); index++) {
      const bad = badKindOf(index);
      const { bytes, ending } = pictures[index % different] as Picture;
      await addFile(tar, `${keyOf(index)}.${ending}`, bad === undefined ? bytes : spoiled(bytes, bad, bomb));
      if (bad !== 'missing text')
        await addFile(tar, `${keyOf(index)}.txt`, Buffer.from(syntheticCaption(8, 500, random)));
    }

    tar.finalize();
    await written;
    files.push(file);
  }

  return files;
}

interface Picture {
  readonly bytes: Buffer;
  readonly ending: string;
}

/** Eight of ten are JPEGs, one is a PNG, one a WebP. */
async function picture(seed: number): Promise<Picture> {
  const random = uniform(seed);
  const coarse = Buffer.from(Uint8Array.from({ length: 3 * 8 * 8 }, () => 256 * random()));
  const image = sharp(coarse, { raw: { width: 8, height: 8, channels: 3 } }).resize(side, side);
  if (seed % 10 === 8) return { bytes: await image.png().toBuffer(), ending: 'png' };
  if (seed % 10 === 9) return { bytes: await image.webp().toBuffer(), ending: 'webp' };
  return { bytes: await image.jpeg().toBuffer(), ending: 'jpg' };
}

function spoiled(bytes: Buffer, kind: BadKind, bomb: Buffer): Buffer {
  if (kind === 'truncated') return bytes.subarray(0, Math.floor(bytes.length / 2));
  if (kind === 'wrong type') return Buffer.from('<html><body>404 Not Found</body></html>');
  return kind === 'bomb' ? bomb : bytes;
}

/** A small PNG whose header promises 50,000 x 50,000 pixels. */
async function bombPng(): Promise<Buffer> {
  const png = await sharp({ create: { width: 16, height: 16, channels: 3, background: 'red' } })
    .png()
    .toBuffer();
  const header = png.subarray(12, 29); // IHDR and its content
  header.writeUInt32BE(50_000, 4);
  header.writeUInt32BE(50_000, 8);
  png.writeUInt32BE(crc32(header), 29);
  return png;
}

function crc32(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }

  return (crc ^ 0xffffffff) >>> 0;
}

function addFile(tar: Pack, name: string, content: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    tar.entry({ name }, content, (error) => (error == null ? resolve() : reject(error)));
  });
}
