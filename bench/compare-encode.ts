/**
 * The towers at base size in float32 beside PyTorch, ONNX Runtime and OpenVINO on the same weights: batches, one item at a time, and
 * captions of mixed length. `node dist/bench/compare-encode.js`.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { uniform } from '../lib/bench/synthetic.js';
import { latency } from '../lib/bench/timing.js';
import { usableCores } from '../lib/device.js';
import { Cots } from '../lib/index.js';
import { importHuggingFace } from '../lib/model/import-hugging-face.js';
import { type Case, type Contender, type Round, runComparison } from './peers/compare.js';
import { PythonPeer } from './peers/python-peer.js';

const engines = ['onnxruntime', 'openvino', 'pytorch'] as const;
const size = 384;
const batch = 8;
/** Calls of one round, so that a round of single items has a spread. */
const singles = 5;
const captions = 200;
const vocabularySize = 30_522;
/** Rows of padded texts, as such engines are fed. */
const textBatch = 32;

const folder = await mkdtemp(path.join(tmpdir(), 'cots-encode-'));
const pixelFile = path.join(folder, 'pixels');
try {
  await runComparison('encode', async (measure) => {
    const peer = await PythonPeer.start('model', 'encode_model.py', {
      arguments: [folder, String(usableCores())],
    });
    const words = await writeVocabulary();
    await peer.ask('prepare', { vocabulary: vocabularySize });
    const image = path.join(folder, 'image');
    const text = path.join(folder, 'text');
    const out = path.join(folder, 'model');
    await importHuggingFace({ image, text, out });
    const model = await Cots.load(out);
    const pictures = await makePictures();
    const texts = makeCaptions(words);
    await checkSameVectors(peer, model, pictures, texts);
    await measure(imageCase(`ViT-B/16 at ${size}, batch ${batch}`, peer, model, pictures, 1));
    await measure(
      imageCase(`ViT-B/16 at ${size}, one image at a time`, peer, model, pictures.slice(0, 1), singles),
    );
    await measure(textCase(`BERT-base, ${captions} captions`, peer, model, texts, textBatch));
    await measure(textCase('BERT-base, one caption at a time', peer, model, texts.slice(0, 60), 1));
    model.dispose();
    await peer.close();
  });
} finally {
  await rm(folder, { recursive: true });
}

interface Picture {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

interface Caption {
  readonly text: string;
  readonly ids: readonly number[];
}

/** Ours takes pixels as bytes and normalizes them on the clock; the peers get them normalized. */
function imageCase(
  name: string,
  peer: PythonPeer,
  model: Cots,
  pictures: readonly Picture[],
  repeat: number,
): Case {
  return {
    name,
    settings: { batch: pictures.length, repeat, threads: usableCores(), precision: 'float32' },
    contenders: [
      ours(
        pictures.length * repeat,
        Array.from({ length: repeat }, () => () => model.embedImages([...pictures])),
      ),
      ...engines.map((engine) =>
        theirs(engine, peer, 'images', { file: pixelFile, batch: pictures.length, repeat }),
      ),
    ],
    goals: goalsOf(1.1),
  };
}

/** Ours takes strings and tokenizes them on the clock, all in one call or one by one; the peers get ids, in padded batches. */
function textCase(
  name: string,
  peer: PythonPeer,
  model: Cots,
  texts: readonly Caption[],
  rows: number,
): Case {
  const strings = texts.map(({ text }) => text);
  const calls =
    rows === 1 ? strings.map((text) => () => model.embedTexts([text])) : [() => model.embedTexts(strings)];
  const tokens = texts.reduce((sum, { ids }) => sum + ids.length, 0);
  return {
    name,
    settings: {
      captions: texts.length,
      meanTokens: tokens / texts.length,
      paddedBatchOfPeers: rows,
      threads: usableCores(),
      precision: 'float32',
    },
    contenders: [
      ours(texts.length, calls),
      ...engines.map((engine) =>
        theirs(engine, peer, 'texts', { ids: texts.map(({ ids }) => ids), batch: rows }),
      ),
    ],
    goals: rows === 1 ? goalsOf(1.1) : { onnxruntime: 1.7 },
  };
}

function goalsOf(ratio: number): Record<string, number> {
  return Object.fromEntries(engines.map((engine) => [engine, ratio]));
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

/** The same weights must give the same vectors, or the race is none. */
async function checkSameVectors(
  peer: PythonPeer,
  model: Cots,
  pictures: readonly Picture[],
  texts: readonly Caption[],
): Promise<void> {
  const [picture, caption] = [pictures[0] as Picture, texts[0] as Caption];
  const own = {
    image: (await model.embedImages([picture])).data,
    text: (await model.embedTexts([caption.text])).data,
  };
  for (const engine of engines) {
    const theirVectors = await peer.ask<{ image: number[]; text: number[] }>('first_states', {
      engine,
      file: pixelFile,
      ids: caption.ids,
    });
    for (const tower of ['image', 'text'] as const) {
      const difference = Math.max(
        ...theirVectors[tower].map((value, place) => Math.abs(value - (own[tower][place] as number))),
      );
      if (!(difference < 1e-4))
        throw new Error(`Expected the ${tower} vector of ${engine}, got one that is ${difference} off.`);
    }
  }
}

/** BERT's special tokens at their usual ids, and words of four letters: each is one token. */
async function writeVocabulary(): Promise<readonly string[]> {
  const lines = Array.from({ length: vocabularySize }, (_, id) => wordOf(id));
  const specials = { 0: '[PAD]', 100: '[UNK]', 101: '[CLS]', 102: '[SEP]', 103: '[MASK]' };
  for (const [id, token] of Object.entries(specials)) lines[Number(id)] = token;
  await mkdir(path.join(folder, 'text'));
  await writeFile(path.join(folder, 'text', 'vocab.txt'), `${lines.join('\n')}\n`);
  return lines;
}

function wordOf(id: number): string {
  const letters = [id % 26, Math.floor(id / 26) % 26, Math.floor(id / 676) % 26, Math.floor(id / 17_576)];
  return String.fromCharCode(...letters.map((letter) => 97 + letter));
}

/** 5 to 17 words, every thirtieth caption 38: 13.8 tokens on average with [CLS] and [SEP]. */
function makeCaptions(words: readonly string[]): Caption[] {
  const random = uniform(captions);
  const below = (limit: number) => Math.floor(random() * limit);
  return Array.from({ length: captions }, (_, place) => {
    const count = place % 30 === 29 ? 38 : 5 + below(13);
    const inner = Array.from({ length: count }, () => 1000 + below(vocabularySize - 1000));
    return { text: inner.map((id) => words[id]).join(' '), ids: [101, ...inner, 102] };
  });
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
