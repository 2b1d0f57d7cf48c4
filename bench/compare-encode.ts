/**
 * The towers at base size beside PyTorch, ONNX Runtime and OpenVINO on the same weights, in each number type: batches, one item at a
 * time, and captions of mixed length. `node dist/bench/compare-encode.js`.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { uniform } from '../lib/bench/synthetic.js';
import { latency } from '../lib/bench/timing.js';
import { usableCores } from '../lib/device.js';
import { Cots } from '../lib/index.js';
import { importHuggingFace } from '../lib/model/import-hugging-face.js';
import { type Case, type Contender, type Round, runComparison } from './peers/compare.js';
import { PythonPeer } from './peers/python-peer.js';
import { type Caption, makeCaptions, vocabularySize, writeVocabulary } from './peers/word-captions.js';

/** The engines that have a number type, the one that many captions are embedded beside (they take minutes), and what ours is to be over each. */
const peersOf = {
  float32: {
    engines: ['onnxruntime', 'openvino', 'pytorch'],
    captioner: 'onnxruntime',
    image: 1.1,
    single: 1.1,
    caption: 1.7,
  },
  bfloat16: {
    engines: ['openvino', 'pytorch'],
    captioner: 'openvino',
    image: undefined,
    single: undefined,
    caption: undefined,
  },
  int8: {
    engines: ['onnxruntime', 'openvino'],
    captioner: 'onnxruntime',
    image: 1.2,
    single: 1.1,
    caption: 1.8,
  },
} as const;
type Precision = keyof typeof peersOf;
/** How near a vector must be to that of float32. */
const leastCosine = { float32: 1 - 1e-8, bfloat16: 0.998, int8: 0.998 };
const size = 384;
const batch = 8;
/** Calls of one round, so that a round of single items has a spread. */
const singles = 10;
const captions = 2000;
/** Rows of padded texts, as such engines are fed. */
const textBatch = 32;

const folder = await mkdtemp(path.join(tmpdir(), 'cots-encode-'));
const pixelFile = path.join(folder, 'pixels');
try {
  await runComparison('encode', async (measure) => {
    const peer = await PythonPeer.start('model', 'encode_model.py', {
      arguments: [folder, String(usableCores())],
    });
    const words = await writeVocabulary(path.join(folder, 'text'));
    await peer.ask('prepare', { vocabulary: vocabularySize });
    const out = path.join(folder, 'model');
    await importHuggingFace({ image: path.join(folder, 'image'), text: path.join(folder, 'text'), out });
    const pictures = await makePictures();
    const texts = makeCaptions(words, captions);
    const exact = await firstVectors(out, 'float32', pictures, texts);
    for (const precision of Object.keys(peersOf) as Precision[]) {
      const cosines = await compareVectors(peer, out, precision, exact, pictures, texts);
      const model = await Cots.load(out, { precision });
      const setting: Setting = { peer, model, precision, cosines };
      await measure(imageCase(setting, `ViT-B/16 at ${size}, batch ${batch}`, pictures, 1));
      await measure(
        imageCase(setting, `ViT-B/16 at ${size}, one image at a time`, pictures.slice(0, 1), singles),
      );
      await measure(textCase(setting, `BERT-base, ${captions} captions`, texts, textBatch));
      await measure(textCase(setting, 'BERT-base, one caption at a time', texts.slice(0, 60), 1));
      model.dispose();
    }

    await peer.close();
  });
} finally {
  await rm(folder, { recursive: true });
}

/** One number type: ours, the peers, and how near the vectors of each are to those of float32. */
interface Setting {
  readonly peer: PythonPeer;
  readonly model: Cots;
  readonly precision: Precision;
  readonly cosines: Cosines;
}

type Tower = 'image' | 'text';
type Vectors = Record<Tower, readonly number[]>;
type Cosines = Record<string, Record<Tower, number>>;

interface Picture {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Ours takes pixels as bytes and normalizes them on the clock; the peers get them normalized. */
function imageCase(setting: Setting, name: string, pictures: readonly Picture[], repeat: number): Case {
  const { peer, model, precision } = setting;
  const { engines, image, single } = peersOf[precision];
  return {
    name: `${name}, ${precision}`,
    settings: { batch: pictures.length, repeat, ...commonSettings(setting, 'image') },
    contenders: [
      ours(
        pictures.length * repeat,
        Array.from({ length: repeat }, () => () => model.embedImages([...pictures])),
      ),
      ...engines.map((engine) =>
        theirs(engine, peer, 'images', { precision, file: pixelFile, batch: pictures.length, repeat }),
      ),
    ],
    singles: pictures.length === 1,
    goals: goalsOf(engines, repeat === 1 ? image : single),
  };
}

/** Ours takes strings and tokenizes them on the clock, all in one call or one by one; the peers get ids, in padded batches. */
function textCase(setting: Setting, name: string, texts: readonly Caption[], rows: number): Case {
  const { peer, model, precision } = setting;
  const { captioner, caption, single } = peersOf[precision];
  const engines = rows === 1 ? peersOf[precision].engines : [captioner];
  const strings = texts.map(({ text }) => text);
  const calls =
    rows === 1 ? strings.map((text) => () => model.embedTexts([text])) : [() => model.embedTexts(strings)];
  const tokens = texts.reduce((sum, { ids }) => sum + ids.length, 0);
  return {
    name: `${name}, ${precision}`,
    settings: {
      captions: texts.length,
      meanTokens: tokens / texts.length,
      paddedBatchOfPeers: rows,
      ...commonSettings(setting, 'text'),
    },
    contenders: [
      ours(texts.length, calls),
      ...engines.map((engine) =>
        theirs(engine, peer, 'texts', { precision, ids: texts.map(({ ids }) => ids), batch: rows }),
      ),
    ],
    singles: rows === 1,
    goals: rows === 1 ? goalsOf(engines, single) : goalsOf(engines, caption),
  };
}

function commonSettings({ precision, cosines }: Setting, tower: Tower) {
  const near = Object.entries(cosines).map(([name, { [tower]: cosine }]) => [name, cosine]);
  return { threads: usableCores(), precision, cosineToFloat32: Object.fromEntries(near) };
}

function goalsOf(engines: readonly string[], ratio: number | undefined): Record<string, number> {
  return ratio === undefined ? {} : Object.fromEntries(engines.map((engine) => [engine, ratio]));
}

function ours(items: number, calls: readonly (() => Promise<unknown>)[]): Contender {
  return {
    name: 'cots',
    round: async (): Promise<Round> => {
      const each: number[] = [];
      const start = performance.now();
      for (const call of calls) {
        const before = performance.now();
        await call();
        each.push(performance.now() - before);
      }

      const { p50, p99 } = latency(each);
      return { seconds: (performance.now() - start) / 1000, items, p50Ms: p50, p99Ms: p99 };
    },
  };
}

function theirs(
  engine: string,
  peer: PythonPeer,
  request: string,
  values: Record<string, unknown>,
): Contender {
  return {
    name: engine,
    versions: peer.versions,
    round: () => peer.ask<Round>(request, { engine, ...values }),
  };
}

/** Ours, of the first picture and the first caption. */
async function firstVectors(
  weights: string,
  precision: Precision,
  pictures: readonly Picture[],
  texts: readonly Caption[],
): Promise<Vectors> {
  const model = await Cots.load(weights, { precision });
  const [image, text] = [
    await model.embedImages([pictures[0] as Picture]),
    await model.embedTexts([(texts[0] as Caption).text]),
  ];
  model.dispose();
  return { image: [...image.data], text: [...text.data] };
}

/** The same weights must give near the same vectors by each engine, or the race is none. */
async function compareVectors(
  peer: PythonPeer,
  weights: string,
  precision: Precision,
  exact: Vectors,
  pictures: readonly Picture[],
  texts: readonly Caption[],
): Promise<Cosines> {
  const vectors: Record<string, Vectors> = { cots: await firstVectors(weights, precision, pictures, texts) };
  for (const engine of peersOf[precision].engines) {
    const { ids } = texts[0] as Caption;
    vectors[engine] = await peer.ask<Vectors>('first_states', { engine, precision, file: pixelFile, ids });
  }

  const cosines = Object.fromEntries(
    Object.entries(vectors).map(([name, { image, text }]) => [
      name,
      { image: cosineOf(image, exact.image), text: cosineOf(text, exact.text) },
    ]),
  );
  for (const tower of ['image', 'text'] as const) {
    const own = (cosines['cots'] as Record<Tower, number>)[tower];
    if (!(own >= leastCosine[precision]))
      throw new Error(
        `Expected the ${tower} vector of ${precision} near that of float32, got cosine ${own}.`,
      );
    if (precision !== 'float32') continue; // how far the peers' other types are off is theirs
    for (const [name, { [tower]: cosine }] of Object.entries(cosines)) {
      if (!(cosine >= leastCosine.float32))
        throw new Error(`Expected the ${tower} vector of ${name}, got one at cosine ${cosine}.`);
    }
  }

  return cosines;
}

function cosineOf(a: readonly number[], b: readonly number[]): number {
  const dot = (x: readonly number[], y: readonly number[]) =>
    x.reduce((sum, value, place) => sum + value * (y[place] as number), 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

async function makePictures(): Promise<Picture[]> {
  const random = uniform(size);
  const pictures = Array.from({ length: batch }, () => ({
    data: Uint8Array.from({ length: size * size * 3 }, () => Math.floor(256 * random())),
    width: size,
    height: size,
  }));
  await writeFile(pixelFile, Buffer.concat(pictures.map(({ data }) => data)));
  return pictures;
}
