/**
 * A long run of `cots embed images`: `node dist/bench/soak-embed.js [--items N]`, 100,000 by default, from shards of which one sample in a
 * hundred is bad. The process is killed (SIGKILL) at two fifths and started again; its resident memory is read once a second. Exit code 1
 * for a row too many or too few, a bad one that errors.jsonl does not list under its code, memory that grows, or other bytes than a run
 * that nothing stopped. The result goes to `bench/results/soak-embed.json`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { packageRoot } from '../lib/binding.js';
import { Cots } from '../lib/index.js';
import { writeRecord } from './record.js';
import { badKindOf, badKinds, writeSoakShards } from './soak/bad-samples.js';
import { checkFlat } from './soak/flat-memory.js';

const perShard = 10_000;
const partitionRows = 5000;
/** Of JavaScript's heap: without a bound V8 lets garbage lie for minutes, and what is kept cannot be told from it. */
const heapMebibytes = 128;

interface Memory {
  readonly seconds: number;
  readonly rssBytes: number;
}

const { values } = parseArgs({ options: { items: { type: 'string', default: '100000' } } });
const items = Number.parseInt(values.items, 10);
const folder = await mkdtemp(path.join(tmpdir(), 'cots-soak-embed-'));
try {
  await soak();
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function soak(): Promise<void> {
  await writeSoakShards(folder, items, perShard);
  const model = path.join(folder, 'model');
  const random = await Cots.create({
    image: { size: 64, patch: 16, width: 64, layers: 2, heads: 2 },
    text: { width: 64, layers: 1, heads: 2 },
    embedDim: 32,
  });
  await random.save(model);
  random.dispose();
  const problems: string[] = [];

  const whole = path.join(folder, 'whole');
  const start = performance.now();
  const { memory } = await embed(model, whole);
  const seconds = (performance.now() - start) / 1000;
  checkFlat(memory, problems);
  const bad = await checkRows(whole, problems);

  const killed = path.join(folder, 'killed');
  await embed(model, killed, Math.round(0.4 * seconds));
  const before = (await digests(killed)).size;
  const { summary } = await embed(model, killed);
  const [one, other] = [await digests(whole), await digests(killed)];
  const differing = [...one].filter(([name, digest]) => other.get(name) !== digest).map(([name]) => name);
  if (differing.length > 0 || one.size !== other.size)
    problems.push(`after a kill these files differ: ${differing.join(', ')}`);
  // Finished partitions are read again for the bad images in them, but no vector is made twice.
  if (before === 0 || !(summary.embedded < summary.rows))
    problems.push('the killed run left nothing to go on from');

  await report({
    items,
    seconds,
    itemsPerSecond: items / seconds,
    bad,
    filesAtKill: before,
    embeddedAfterKill: summary.embedded,
    memory,
    problems,
  });
  if (problems.length > 0) process.exitCode = 1;
}

interface Summary {
  readonly rows: number;
  readonly embedded: number;
}

/** One run of the command; with `killAfter` it is killed after so many seconds. */
async function embed(model: string, out: string, killAfter = Number.POSITIVE_INFINITY) {
  const main = path.join(packageRoot(), 'dist', 'lib', 'cli', 'main.js');
  const shards = path.join(folder, '*.tar');
  const args = ['embed', 'images', shards, '--model', model, '--out', out, '--json'];
  const bounded = `--max-old-space-size=${heapMebibytes}`;
  const child = spawn(process.execPath, [bounded, main, ...args, '--partition-rows', String(partitionRows)], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const memory: Memory[] = [];
  const isOver = await watch(child, ended, killAfter, memory);
  const code = await ended;
  if (isOver && code !== 0) throw new Error(`Expected cots embed to end well, got exit code ${code}.`);
  return { memory, summary: (isOver ? JSON.parse(stdout) : {}) as Summary };
}

/** Reads memory once a second; false when the process was killed. */
async function watch(
  child: ChildProcess,
  ended: Promise<unknown>,
  killAfter: number,
  memory: Memory[],
): Promise<boolean> {
  for (let seconds = 0; ; seconds++) {
    if (seconds >= killAfter) {
      child.kill('SIGKILL');
      return false;
    }

    const rssBytes = await residentBytes(child.pid as number);
    if (rssBytes > 0) memory.push({ seconds, rssBytes });
    if ((await Promise.race([ended.then(() => 'ended'), sleep(1000)])) === 'ended') return true;
  }
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return 1024 * Number(/VmRSS:\s*(\d+)/.exec(status)?.[1] ?? 0);
}

/** Rows and list against the truth: every good sample has a vector, every bad image a line under its code. */
async function checkRows(out: string, problems: string[]) {
  const { modalities } = JSON.parse(await readFile(path.join(out, 'manifest.json'), 'utf8')) as {
    modalities: { image: { rows: number; complete: boolean } };
  };
  const lines = (await readFile(path.join(out, 'errors.jsonl'), 'utf8')).trimEnd().split('\n');
  const listed = new Map(
    lines
      .map((line) => JSON.parse(line) as { id: string; code: string })
      .map(({ id, code }) => [Number(id.split('/').at(-1)), code]),
  );
  const counts: Record<string, { made: number; listed: number }> = {};
  let good = 0;
  for (let index = 0; index < items; index++) {
    const kind = badKindOf(index);
    // An image without a caption is embedded as any other.
    if (kind === undefined || kind === 'missing text') {
      good++;
      continue;
    }

    const row = counts[kind] ?? { made: 0, listed: 0 };
    counts[kind] = row;
    row.made++;
    if (listed.get(index) === badKinds[kind]) row.listed++;
  }

  if (modalities.image.rows !== good || !modalities.image.complete)
    problems.push(`${good} good images, ${modalities.image.rows} rows`);
  for (const [kind, row] of Object.entries(counts))
    if (row.made !== row.listed) problems.push(`${kind}: ${row.made} made, ${row.listed} listed`);
  if (listed.size + good !== items) problems.push(`${listed.size} listed of ${items - good} bad`);
  return counts;
}

/** SHA-256 of every vector and metadata file. */
async function digests(out: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const part of ['img_emb', 'metadata']) {
    for (const name of (await readdir(path.join(out, part))).sort()) {
      const bytes = await readFile(path.join(out, part, name));
      found.set(`${part}/${name}`, createHash('sha256').update(bytes).digest('hex'));
    }
  }

  return found;
}

async function report(result: Readonly<Record<string, unknown>>): Promise<void> {
  if (items >= 100_000)
    await writeRecord('soak-embed', `node dist/bench/soak-embed.js --items ${items}`, { result });
  console.log(JSON.stringify({ ...result, memory: undefined }, null, 2));
}
