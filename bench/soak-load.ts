/**
 * A long run of the loader: `node dist/bench/soak-load.js [--samples N]`, 1,000,000 by default, from shards of which one sample in a
 * hundred is bad. Every batch is held against the truth, memory is written down on the way; exit code 1 for a sample too many, too few or
 * out of order, a bad one not listed under its code, memory that grows, or a batch that takes half a minute. The result goes to
 * `bench/results/soak-load.json`.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { benchContext } from '../lib/bench/machine.js';
import { resolveConfig } from '../lib/config/load.js';
import type { TrainConfig } from '../lib/config/schema.js';
import type { Loader } from '../lib/data/loader.js';
import { pairLoader } from '../lib/data/loaders.js';
import { Sampler } from '../lib/data/sampler.js';
import { CaptionEncoder, captionRules, textTokenizerFor } from '../lib/data/text/captions.js';
import { captionsOf, openSources, type TrainingSet } from '../lib/data/training-set.js';
import { writeRecord } from './record.js';
import { badKindOf, badKinds, writeSoakShards } from './soak/bad-samples.js';
import { checkFlat } from './soak/flat-memory.js';

const batchSize = 250;
const perShard = 10_000;
const stallSeconds = 30;

interface Memory {
  readonly samples: number;
  readonly rssBytes: number;
  readonly heapBytes: number;
}

const { values } = parseArgs({ options: { samples: { type: 'string', default: '1000000' } } });
const samples = Number.parseInt(values.samples, 10);
const folder = await mkdtemp(path.join(tmpdir(), 'cots-soak-'));
try {
  await soak();
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function soak(): Promise<void> {
  const files = await writeSoakShards(folder, samples, perShard);
  console.log(`${samples} samples in ${files.length} shards`);
  const config = configOf(files);
  const before = heapBytes();
  const set = await openSources(config.data.train, 'train');
  const manifestBytes = (heapBytes() - before) / set.entries.length;
  const tokenizer = await textTokenizerFor(config, captionsOf(set));
  const badFile = path.join(folder, 'bad.jsonl');
  const captions = new CaptionEncoder(tokenizer, captionRules(config));
  const loader = pairLoader(config, set, captions, { badFile });
  const start = performance.now();
  const { memory, longest, problems, drawn } = await drawAll(loader, set, config.train.seed);
  const seconds = (performance.now() - start) / 1000;
  const bad = await checkList(badFile, set, drawn, config.train.seed, problems);
  checkFlat(memory, problems);
  const result = {
    samples,
    shards: files.length,
    seconds,
    samplesPerSecond: drawn / seconds,
    longestBatchSeconds: longest,
  };
  await report({ ...result, heapBytesPerEntry: manifestBytes, bad, memory, problems });
  if (problems.length > 0) process.exitCode = 1;
}

function configOf(files: readonly string[]): TrainConfig {
  return resolveConfig(
    {
      model: {
        image: { size: 64, patch: 16, width: 8, layers: 1, heads: 1 },
        text: { width: 8, layers: 1, heads: 1 },
        embedDim: 4,
      },
      train: { batchSize, seed: 3 },
      data: { train: [...files], cacheBytes: 64 * 2 ** 20 },
    },
    [],
    'plan',
  );
}

/** One epoch, batch by batch, each against what a sampler of the same seed draws. */
async function drawAll(loader: Loader, set: TrainingSet, seed: number) {
  const truth = samplerOf(set, seed);
  const problems: string[] = [];
  const memory: Memory[] = [];
  let [drawn, longest] = [0, 0];
  const every = Math.max(1, Math.floor(samples / batchSize / 50));
  for (let batch = 0; (batch + 1) * batchSize <= samples * 0.989; batch++) {
    const start = performance.now();
    const { items } = await loader.next();
    const seconds = (performance.now() - start) / 1000;
    longest = Math.max(longest, seconds);
    if (seconds > stallSeconds) problems.push(`batch ${batch} took ${seconds.toFixed(0)} s`);
    const wanted: number[] = [];
    for (; wanted.length < batchSize; drawn++) {
      const { item } = truth.next();
      if (kindOf(set, item) === undefined) wanted.push(item);
    }

    if (!wanted.every((item, row) => items[row] === item) || items.length !== wanted.length)
      problems.push(`batch ${batch} holds other samples than the seed draws`);
    if (batch % every === 0) {
      memory.push({ samples: drawn, rssBytes: process.memoryUsage.rss(), heapBytes: heapBytes() });
      console.log(`${drawn} samples, ${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB`);
    }
  }

  loader.close();
  return { memory, longest, problems, drawn };
}

function samplerOf({ entries }: TrainingSet, seed: number): Sampler {
  return new Sampler({
    seed,
    items: entries.length,
    captions: (item) => entries[item]?.captions.length ?? 0,
  });
}

function kindOf({ entries }: TrainingSet, item: number) {
  return badKindOf(Number(entries[item]?.id.split('/').at(-1)));
}

/** The list of bad samples against the truth: all that were drawn, each under its code, none else but what was made ahead. */
async function checkList(file: string, set: TrainingSet, drawn: number, seed: number, problems: string[]) {
  const lines = (await readFile(file, 'utf8')).trim().split('\n');
  const listed = new Map(
    lines.map((line) => JSON.parse(line) as { id: string; code: string }).map(({ id, code }) => [id, code]),
  );
  if (listed.size !== lines.length)
    problems.push(`${lines.length - listed.size} bad samples are listed twice`);
  const counts: Record<string, { drawn: number; listed: number }> = {};
  const truth = samplerOf(set, seed);
  for (let draw = 0; draw < drawn; draw++) {
    const { item } = truth.next();
    const kind = kindOf(set, item);
    if (kind === undefined) continue;
    const row = counts[kind] ?? { drawn: 0, listed: 0 };
    counts[kind] = row;
    row.drawn++;
    if (listed.get(set.entries[item]?.id ?? '') === badKinds[kind]) row.listed++;
  }

  for (const [kind, row] of Object.entries(counts))
    if (row.drawn !== row.listed) problems.push(`${kind}: ${row.drawn} drawn, ${row.listed} listed`);
  for (const id of listed.keys())
    if (badKindOf(Number(id.split('/').at(-1))) === undefined) problems.push(`${id} is listed and good`);
  return counts;
}

function heapBytes(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

async function report(result: Readonly<Record<string, unknown>>): Promise<void> {
  const { peakMemoryBytes } = benchContext(1);
  const command = `node --expose-gc dist/bench/soak-load.js --samples ${samples}`;
  if (samples >= 1_000_000) await writeRecord('soak-load', command, { peakMemoryBytes, result });
  console.log(JSON.stringify({ ...result, memory: undefined }, null, 2));
}
