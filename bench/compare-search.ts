/**
 * Exact search over 1,000,000 x 256 beside faiss IndexFlatIP: 1,000 queries at once, and one at a time as a share of what the
 * machine reads from memory. `node dist/bench/compare-search.js`.
 */
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { unitRows } from '../lib/bench/synthetic.js';
import { binding, type Matrix, type NativeGallery } from '../lib/binding.js';
import { usableCores } from '../lib/device.js';
import { bytesOf, floatToHalf } from '../lib/search/npy.js';
import { type Contender, type Round, runComparison } from './peers/compare.js';
import { PythonPeer } from './peers/python-peer.js';

const rows = 1_000_000;
const columns = 256;
const k = 10;
const block = 10_000;
/** One query is over too soon to be measured alone. */
const singles = 20;
const bytesAnElement = { float32: 4, float16: 2 } as const;

const folder = await mkdtemp(path.join(tmpdir(), 'cots-search-'));
const fileOf = (name: string): string => path.join(folder, name);
try {
  await makeFiles();
  await runComparison('search', async (measure) => {
    const peer = await PythonPeer.start('search', 'faiss_search.py', {
      arguments: [String(rows), String(columns), fileOf('float32')],
    });
    const galleries = { float32: await openFile('float32'), float16: await openFile('float16') };
    for (const [name, count, repeat] of [
      ['1,000 queries at once', 1000, 1],
      ['one query at a time', 1, singles],
    ] as const) {
      const queries = await makeQueries(count);
      const faiss: Contender = {
        name: 'faiss',
        versions: peer.versions,
        round: () => peer.ask<Round>('search', { queries: fileOf(`queries-${count}`), k, repeat }),
      };
      await checkSameAnswers(peer, galleries.float32, queries);
      const ours = (dtype: keyof typeof galleries): Contender => ({
        name: `cots ${dtype}`,
        round: () => searchRound(galleries[dtype], queries, repeat, bytesAnElement[dtype]),
      });
      await measure({
        name: `${name}, ${rows} x ${columns}, k ${k}`,
        settings: { queries: count, rows, columns, k, threads: usableCores() },
        contenders: [ours('float32'), ours('float16'), faiss],
        goals: { faiss: 1.2 },
      });
    }

    for (const gallery of Object.values(galleries)) gallery.dispose();
    await peer.close();
  });
} finally {
  await rm(folder, { recursive: true });
}

async function searchRound(
  gallery: NativeGallery,
  queries: Matrix,
  repeat: number,
  bytes: number,
): Promise<Round> {
  const start = performance.now();
  for (let index = 0; index < repeat; index++) await gallery.topK({ queries, k, cancel: null });
  const seconds = (performance.now() - start) / 1000;
  return {
    seconds,
    items: repeat * queries.shape[0],
    gigabytesReadPerSecond: (repeat * rows * columns * bytes) / seconds / 1e9,
  };
}

async function checkSameAnswers(peer: PythonPeer, gallery: NativeGallery, queries: Matrix): Promise<void> {
  const { indices } = await gallery.topK({ queries, k, cancel: null });
  const { indices: theirs } = await peer.ask<{ indices: number[][] }>('best', {
    queries: fileOf(`queries-${queries.shape[0]}`),
    k,
  });
  const differ = theirs.flat().filter((row, place) => row !== indices[place]).length;
  if (differ > 0.001 * indices.length)
    throw new Error(`Expected the rows that faiss finds, ${differ} of ${indices.length} differ.`);
}

function openFile(dtype: 'float32' | 'float16'): Promise<NativeGallery> {
  return binding().openGallery({
    file: fileOf(dtype),
    offset: 0,
    rows,
    dimension: columns,
    dtype,
    threads: usableCores(),
  });
}

/** Unit rows as float32 and as float16. */
async function makeFiles(): Promise<void> {
  const [single, half] = [await open(fileOf('float32'), 'w'), await open(fileOf('float16'), 'w')];
  try {
    for (let begin = 0; begin < rows; begin += block) {
      const { data } = unitRows(block, columns, begin);
      await single.write(bytesOf(data));
      await half.write(bytesOf(Uint16Array.from(data, floatToHalf)));
    }
  } finally {
    await single.close();
    await half.close();
  }
}

async function makeQueries(count: number): Promise<Matrix> {
  const queries = unitRows(count, columns, rows + count);
  await writeFile(fileOf(`queries-${count}`), bytesOf(queries.data));
  return queries;
}
