/** 12 uniform frames of 320 x 240 clips of 10 to 60 s, as RGB: beside PyAV and decord. `node dist/bench/compare-video.js`. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { makeFilm } from '../lib/bench/clips.js';
import { decodeClips } from '../lib/bench/video.js';
import { usableCores } from '../lib/device.js';
import { requireFfmpeg } from '../lib/video/find-ffmpeg.js';
import { sampleFrames } from '../lib/video/sample-frames.js';
import { sampleVideo } from '../lib/video/sample-video.js';
import { type Contender, type Round, runComparison } from './peers/compare.js';
import { PythonPeer } from './peers/python-peer.js';

const frames = 12;
const size = { width: 320, height: 240, rate: 25 };
const lengths = [10, 20, 30, 40, 50, 60];
const cores = usableCores();

const folder = await mkdtemp(path.join(tmpdir(), 'cots-video-'));
try {
  const clips: string[] = [];
  for (const seconds of lengths)
    clips.push(await makeFilm(folder, `clip-${seconds}`, { ...size, seconds }, seconds));
  await runComparison('video', async (measure) => {
    const { version } = await requireFfmpeg();
    const peers = await startPeers();
    for (const peer of peers.values()) await checkSameFrames(peer, clips);
    const cases: [string, string[]][] = [
      ['clips of 10 to 60 s', clips],
      ['clips of 10 s', clips.slice(0, 1).flatMap((clip) => [clip, clip, clip, clip])],
      ['clips of 60 s', clips.slice(-1).flatMap((clip) => [clip, clip])],
    ];
    for (const [name, given] of cases) {
      const ours: Contender = {
        name: 'cots',
        versions: { ffmpeg: version },
        round: async () => ({
          seconds: await decodeClips(given, { frames }, cores),
          items: frames * given.length,
        }),
      };
      await measure({
        name: `${frames} frames of ${name}, ${size.width} x ${size.height}`,
        settings: { frames, clips: given.length, ...size, decoders: cores },
        contenders: [
          ours,
          ...[...peers].map(([peerName, peer]) => ({
            name: peerName,
            versions: peer.versions,
            round: () => peer.ask<Round>('run', { clips: given, frames }),
          })),
        ],
        goals: Object.fromEntries([...peers.keys()].map((peerName) => [peerName, 1.2])),
      });
    }

    for (const peer of peers.values()) await peer.close();
  });
} finally {
  await rm(folder, { recursive: true });
}

/** Each library in both ways of using the cores: a clip each, and all on one clip. */
async function startPeers(): Promise<Map<string, PythonPeer>> {
  const peers = new Map<string, PythonPeer>();
  for (const [label, library] of [
    ['PyAV', 'av'],
    ['decord', 'decord'],
  ] as const) {
    for (const [workers, threads] of [
      [cores, 1],
      [1, cores],
    ] as const) {
      const peer = await PythonPeer.start('video', 'video_frames.py', {
        arguments: [library, String(workers), String(threads)],
      });
      peers.set(`${label}, ${workers} x ${threads} thread${threads === 1 ? '' : 's'}`, peer);
    }
  }

  return peers;
}

async function checkSameFrames(peer: PythonPeer, clips: readonly string[]): Promise<void> {
  for (const clip of clips) {
    const { hashes } = await peer.ask<{ hashes: string[] }>('hashes', { clip, frames });
    const ours: string[] = [];
    for await (const { data } of sampleVideo(clip, (table) => sampleFrames(table, { frames })))
      ours.push(createHash('sha256').update(data).digest('hex'));
    if (ours.join() !== hashes.join())
      throw new Error(`Expected the same frames of ${path.basename(clip)} as the peer has, got others.`);
  }
}
