/** The loader beside webdataset with Pillow, and beside sharp that decodes the same files and does nothing more. */
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { timeBatches } from '../lib/bench/load.js';
import { writePhotoShards } from '../lib/bench/photo-shards.js';
import { loadConfig } from '../lib/config/load.js';
import type { TrainConfig } from '../lib/config/schema.js';
import { drawTransform } from '../lib/data/augment.js';
import { pairLoader, pairViews } from '../lib/data/loaders.js';
import { shardMember } from '../lib/data/media.js';
import { CaptionEncoder, captionRules, textTokenizerFor } from '../lib/data/text/captions.js';
import { captionsOf, openSources, type TrainingSet } from '../lib/data/training-set.js';
import { type Round, runComparison } from './peers/compare.js';
import { PythonPeer } from './peers/python-peer.js';

const size = { width: 640, height: 480 };
const [shards, imagesPerShard, batchSize] = [4, 32, 64];
/** Times that a round goes through the shards. */
const epochs = 4;
const images = epochs * shards * imagesPerShard;

interface Ours {
  readonly config: TrainConfig;
  readonly set: TrainingSet;
  readonly captions: CaptionEncoder;
}

async function openOurs(files: readonly string[]): Promise<Ours> {
  const config = await loadConfig(
    'configs/base.yaml',
    [
      'model.image.size=224',
      `data.train=${JSON.stringify(files)}`,
      `train.batchSize=${batchSize}`,
      'train.accumulate=1',
    ],
    'bench',
  );
  const set = await openSources(config.data.train, 'train');
  const tokenizer = await textTokenizerFor(config, captionsOf(set));
  return { config, set, captions: new CaptionEncoder(tokenizer, captionRules(config)) };
}

async function oursRound({ config, set, captions }: Ours): Promise<Round> {
  const loader = pairLoader(config, set, captions);
  const seconds = await timeBatches(loader, loader.ahead, images / batchSize);
  return { seconds, items: images };
}

/** sharp alone, `inFlight` images at a time: bytes from the shards to raw RGB. */
async function sharpRound({ set }: Ours, inFlight: number): Promise<Round> {
  const handles = new Map<string, FileHandle>();
  const members: { handle: FileHandle; size: number; offset: number }[] = [];
  for (const { image } of set.entries) {
    const member = await shardMember(image as string);
    if (member === undefined) continue;
    const handle = handles.get(member.shard) ?? (await open(member.shard, 'r'));
    handles.set(member.shard, handle);
    members.push({ handle, size: member.size, offset: member.offset });
  }

  const round = Array.from({ length: epochs }, () => members).flat();
  const start = performance.now();
  let next = 0;
  const work = async () => {
    for (let member = round[next++]; member !== undefined; member = round[next++]) {
      const { handle, size: bytes, offset } = member;
      const { buffer } = await handle.read(Buffer.allocUnsafe(bytes), 0, bytes, offset);
      await sharp(buffer).raw().toBuffer();
    }
  };
  await Promise.all(Array.from({ length: inFlight }, work));
  const seconds = (performance.now() - start) / 1000;
  for (const handle of handles.values()) await handle.close();
  return { seconds, items: round.length };
}

async function fastestInFlight(ours: Ours): Promise<number> {
  await sharpRound(ours, 2);
  const rates: [inFlight: number, seconds: number][] = [];
  for (const inFlight of [2, 3, 4, 8]) rates.push([inFlight, (await sharpRound(ours, inFlight)).seconds]);
  return rates.sort(([, a], [, b]) => a - b)[0]?.[0] as number;
}

/** Largest difference of any byte between our first batch and the peer's views of the same samples. */
async function largestDifference({ config, set, captions }: Ours, peer: PythonPeer): Promise<number> {
  const loader = pairLoader(config, set, captions);
  const batch = await loader.next();
  await loader.drain();
  let largest = 0;
  for (const [row, item] of batch.items.entries()) {
    const { image = '' } = set.entries[item] ?? {};
    const [shard, member] = image.split('!');
    const { left, top, width, height, flip, jitter } = drawTransform(
      size.width,
      size.height,
      config.data.aug,
      config.train.seed,
      batch.samples[row] as number,
    );
    const factors = [jitter?.brightness, jitter?.contrast, jitter?.saturation];
    const transform = { box: [left, top, width, height], flip, factors, order: jitter?.order };
    const { views } = await peer.ask<{ views: string[][] }>('pixels', {
      shard,
      samples: [{ member, transform }],
    });
    for (const [view, text] of (views[0] as string[]).entries()) {
      const theirs = Buffer.from(text, 'base64');
      const ours = batch.views[view]?.subarray(row * theirs.length) as Uint8Array;
      for (const [at, byte] of theirs.entries())
        largest = Math.max(largest, Math.abs(byte - (ours[at] as number)));
    }
  }

  return largest;
}

const folder = await mkdtemp(path.join(tmpdir(), 'cots-compare-'));
try {
  await runComparison('load', async (measure) => {
    const files = await writePhotoShards({ folder, shards, imagesPerShard, ...size, seed: 1 });
    const ours = await openOurs(files);
    const workers = cpus().length;
    const peer = await PythonPeer.start('data', 'load_webdataset.py', {
      arguments: [
        ...Array.from({ length: epochs }, () => files).flat(),
        '--workers',
        String(workers),
        '--batch-size',
        String(batchSize),
      ],
    });
    const inFlight = await fastestInFlight(ours);
    await measure({
      name: 'JPEG 640 x 480 in shards to training views of 224 (bicubic) and 112 (lanczos)',
      settings: {
        images,
        batchSize,
        views: pairViews(ours.config),
        augmentation: ours.config.data.aug,
        loaderWorkers: ours.config.data.workers,
        webdatasetWorkers: workers,
        sharpInFlight: inFlight,
        largestDifference: await largestDifference(ours, peer),
      },
      contenders: [
        { name: 'cots', round: () => oursRound(ours) },
        { name: 'webdataset', versions: peer.versions, round: () => peer.ask<Round>('run') },
        {
          name: 'sharp',
          versions: { sharp: sharp.versions.sharp ?? '' },
          round: () => sharpRound(ours, inFlight),
        },
      ],
      goals: { webdataset: 2, sharp: 0.85 },
    });
    await peer.close();
  });
} finally {
  await rm(folder, { recursive: true, force: true });
}
