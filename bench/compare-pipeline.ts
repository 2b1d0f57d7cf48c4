/**
 * From JPEG files and strings to vectors, beside transformers.js in Node on the same weights: `node dist/bench/compare-pipeline.js`.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { photographJpeg } from '../lib/bench/photograph.js';
import { usableCores } from '../lib/device.js';
import { Cots } from '../lib/index.js';
import { importHuggingFace } from '../lib/model/import-hugging-face.js';
import { type Contender, type Round, runComparison } from './peers/compare.js';
import { NodePeer } from './peers/node-peer.js';
import { PythonPeer } from './peers/python-peer.js';
import { makeCaptions, vocabularySize, writeVocabulary } from './peers/word-captions.js';

type Tower = 'image' | 'text';

const photographs = { count: 8, width: 640, height: 480 };
const captions = 200;
/** Items that the peer takes at a time. */
const peerBatch = { image: 8, text: 32 };
/** What ours is to be over the peer in the same number type, and the peer's name for that type. */
const precisions = {
  float32: { dtype: 'fp32', goal: 1.5 },
  int8: { dtype: 'q8', goal: 3 },
} as const;
/** Of the peer's float32 vector and ours; it resizes images with another library. */
const leastCosine = { image: 0.99, text: 1 - 1e-6 };

const folder = await mkdtemp(path.join(tmpdir(), 'cots-pipeline-'));
try {
  await runComparison('pipeline', async (measure) => {
    const words = await writeVocabulary(path.join(folder, 'text'));
    const exporter = await PythonPeer.start('model', 'onnx_folders.py', { arguments: [folder] });
    await exporter.ask('prepare', { vocabulary: vocabularySize });
    await exporter.close();
    const out = path.join(folder, 'model');
    await importHuggingFace({ image: path.join(folder, 'image'), text: path.join(folder, 'text'), out });
    const items = {
      image: await writePhotographs(),
      text: makeCaptions(words, captions).map(({ text }) => text),
    };
    const threads = usableCores();
    const peer = await NodePeer.start('transformers-js', { arguments: [folder, String(threads)] });
    for (const [precision, { dtype, goal }] of typedEntries(precisions)) {
      const model = await Cots.load(out, { precision });
      for (const tower of ['image', 'text'] as const) {
        const cosine = await cosineToPeer(model, peer, tower, items[tower][0] as string);
        if (precision === 'float32' && !(cosine >= leastCosine[tower]))
          throw new Error(`Expected the peer's ${tower} vector near ours, got cosine ${cosine}.`);
        const ours: Contender = { name: 'cots', round: () => embed(model, tower, items[tower]) };
        const types = precision === 'float32' ? [dtype] : [dtype, precisions.float32.dtype];
        await measure({
          name: `${items[tower].length} ${tower === 'image' ? 'JPEG files' : 'captions'} to vectors, ${precision}`,
          settings: {
            precision,
            threads,
            ...(tower === 'image' ? photographs : {}),
            peerBatch: peerBatch[tower],
            cosineToPeerInFloat32: cosine,
          },
          contenders: [
            ours,
            ...types.map((type) => ({
              name: nameOf(type),
              versions: peer.versions,
              round: () =>
                peer.ask<Round>('run', { tower, dtype: type, items: items[tower], batch: peerBatch[tower] }),
            })),
          ],
          goals: { [nameOf(dtype)]: goal },
        });
      }

      model.dispose();
    }

    await peer.close();
  });
} finally {
  await rm(folder, { recursive: true });
}

function nameOf(dtype: string): string {
  return `transformers.js ${dtype}`;
}

async function writePhotographs(): Promise<string[]> {
  const { count, ...size } = photographs;
  const files = Array.from({ length: count }, (_, index) => path.join(folder, `${index}.jpg`));
  for (const [index, file] of files.entries()) await writeFile(file, await photographJpeg(size, index));
  return files;
}

async function embed(model: Cots, tower: Tower, items: readonly string[]): Promise<Round> {
  const start = performance.now();
  await (tower === 'image' ? model.embedImages(items) : model.embedTexts(items));
  return { seconds: (performance.now() - start) / 1000, items: items.length };
}

async function cosineToPeer(model: Cots, peer: NodePeer, tower: Tower, item: string): Promise<number> {
  const { data } = await (tower === 'image' ? model.embedImages([item]) : model.embedTexts([item]));
  const { vector } = await peer.ask<{ vector: number[] }>('first', {
    tower,
    dtype: precisions.float32.dtype,
    item,
  });
  return vector.reduce((sum, value, place) => sum + value * (data[place] as number), 0);
}

function typedEntries<K extends string, V>(of: Readonly<Record<K, V>>): [K, V][] {
  return Object.entries(of) as [K, V][];
}
