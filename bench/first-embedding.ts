/**
 * From `Cots.load` to the first embedding, and what memory that takes: models of random weights at base size, a process a measurement,
 * files in the page cache. `node dist/bench/first-embedding.js [--rounds N]`.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { median } from '../lib/bench/timing.js';
import { binding } from '../lib/binding.js';
import type { Precision } from '../lib/device.js';
import { Cots } from '../lib/index.js';
import { busyShare } from './peers/busy.js';
import { writeRecord } from './record.js';

const run = promisify(execFile);
const precisions: readonly Precision[] = ['float32', 'bfloat16', 'int8'];
const towers = ['image', 'text'] as const;
type Tower = (typeof towers)[number];

/** Of one process; seconds and bytes. */
interface Figures {
  /** Until `Cots.load` has resolved: the file is checked. */
  readonly load: number;
  /** The first embedding after it: weights read and packed, one forward pass. */
  readonly first: number;
  /** One more: the forward pass alone. */
  readonly next: number;
  /** `load` and `first`. */
  readonly total: number;
  /** Largest resident memory less that before the load. */
  readonly peakBytes: number;
  /** Resident memory at the end less that before the load. */
  readonly heldBytes: number;
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    measure: { type: 'string' },
    tower: { type: 'string', default: 'image' },
    precision: { type: 'string', default: 'float32' },
  },
});
if (values.measure === undefined) await compare(Math.max(1, Number.parseInt(values.rounds, 10)));
else
  console.log(
    JSON.stringify(await measure(values.measure, values.tower as Tower, values.precision as Precision)),
  );

async function compare(rounds: number): Promise<void> {
  const busyBefore = await busyShare();
  const folder = await mkdtemp(path.join(tmpdir(), 'cots-first-'));
  try {
    const model = await Cots.create({});
    await model.save(path.join(folder, 'model'));
    model.dispose();
    const directory = path.join(folder, 'model');
    const weightBytes = (await stat(path.join(directory, 'model.safetensors'))).size;
    const cases = precisions.flatMap((precision) => towers.map((tower) => ({ precision, tower })));
    const measured = new Map(cases.map((one) => [one, [] as Figures[]]));
    for (let round = 0; round < rounds; round++)
      for (const [{ tower, precision }, list] of measured)
        list.push(await inProcess(directory, tower, precision));
    const results = [...measured].map(([one, list]) => ({ ...one, ...summary(list, weightBytes) }));
    for (const { precision, tower, seconds, peakOverWeights } of results)
      console.log(
        `${precision} ${tower}: load ${seconds.load.toFixed(2)} s, first ${seconds.first.toFixed(2)} s, next ${seconds.next.toFixed(2)} s; peak ${peakOverWeights.toFixed(2)} x the weights`,
      );
    if (rounds < 5) return;
    await writeRecord('first-embedding', `node dist/bench/first-embedding.js --rounds ${rounds}`, {
      busyBefore,
      rounds,
      weightBytes,
      results,
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function inProcess(directory: string, tower: Tower, precision: Precision): Promise<Figures> {
  const script = fileURLToPath(import.meta.url);
  const { stdout } = await run(process.execPath, [
    script,
    ...['--measure', directory, '--tower', tower, '--precision', precision],
  ]);
  return JSON.parse(stdout) as Figures;
}

function summary(list: readonly Figures[], weightBytes: number) {
  const of = (key: keyof Figures): number => median(list.map((figures) => figures[key]));
  return {
    seconds: { load: of('load'), first: of('first'), next: of('next'), total: of('total') },
    withoutForward: of('total') - of('next'),
    peakBytes: of('peakBytes'),
    heldBytes: of('heldBytes'),
    peakOverWeights: of('peakBytes') / weightBytes,
  };
}

/** The addon is loaded before the clock starts, as in a process that has imported the package and used it. */
async function measure(directory: string, tower: Tower, precision: Precision): Promise<Figures> {
  binding().info();
  const before = await resident('VmRSS');
  const start = performance.now();
  const model = await Cots.load(directory, { precision });
  const loaded = performance.now();
  const side = model.config.image.size;
  const picture = { data: new Uint8Array(side * side * 3), width: side, height: side };
  const embed = (): Promise<unknown> =>
    tower === 'image' ? model.embedImages([picture]) : model.embedTexts(['a red bus']);
  await embed();
  const first = performance.now();
  await embed();
  const next = performance.now();
  return {
    load: (loaded - start) / 1000,
    first: (first - loaded) / 1000,
    next: (next - first) / 1000,
    total: (first - start) / 1000,
    peakBytes: (await resident('VmHWM')) - before,
    heldBytes: (await resident('VmRSS')) - before,
  };
}

/** Bytes of a line of /proc/self/status. */
async function resident(line: 'VmRSS' | 'VmHWM'): Promise<number> {
  const text = await readFile('/proc/self/status', 'utf8');
  return 1024 * Number(new RegExp(`${line}:\\s*(\\d+)`).exec(text)?.[1]);
}
