/**
 * Comparisons: ours and the peers in one run, a round each in turn, so that whatever else the machine does falls on all. Medians
 * with the least and the most go to `bench/results/compare-NAME.json`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { median } from '../../lib/bench/timing.js';
import { writeRecord } from '../record.js';
import { busyShare } from './busy.js';

/** What one round measured; further figures (megabytes, milliseconds of a part) are kept as they are. */
export interface Round {
  readonly seconds: number;
  readonly items: number;
  readonly [figure: string]: number;
}

/** Ours, or a peer. */
export interface Contender {
  readonly name: string;
  readonly versions?: Readonly<Record<string, string>>;
  /** One measured round, one at a time. */
  readonly round: () => Promise<Round>;
}

/** One table: the same work by all. */
export interface Case {
  readonly name: string;
  /** What the work is: sizes, counts, settings. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Ours first: its rate is divided by each other's. */
  readonly contenders: readonly Contender[];
  /** Whether a call is one item for all: then the ratios of p50 and p99 mean something. */
  readonly singles?: boolean;
  /** Share of ours over a peer that is the goal, by peer. */
  readonly goals?: Readonly<Record<string, number>>;
}

interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** Fewer rounds show that it runs; they are no result. */
const leastRounds = 5;

/**
 * Measures the cases that `work` hands over, prints them, and writes the result. `--rounds N` (default 5) is read from the command
 * line; below 5 nothing is written. `work` starts and closes its peers; `command` is what the result says it was made with.
 * `--turn COMMAND`, for a machine that is shared: run before each round, which begins at the first thing it prints; its standard
 * input ends with the round, and it with that.
 */
export async function runComparison(
  name: string,
  work: (measure: (one: Case) => Promise<void>) => Promise<void>,
  command = `node dist/bench/compare-${name}.js`,
): Promise<void> {
  const { values } = parseArgs({
    options: { rounds: { type: 'string', default: String(leastRounds) }, turn: { type: 'string' } },
  });
  const rounds = Math.max(1, Number.parseInt(values.rounds, 10));
  const busyBefore = await busyShare();
  if (busyBefore > 0.1) console.error(`Other work takes ${(100 * busyBefore).toFixed(0)} % of the machine.`);
  const cases: unknown[] = [];
  await work(async (one) => {
    const measured = await measureCase(one, rounds, values.turn);
    printCase(measured);
    cases.push(measured);
  });
  if (rounds < leastRounds) return;
  await writeRecord(`compare-${name}`, `${command} --rounds ${rounds}`, { busyBefore, cases });
}

async function measureCase(
  { name, settings, contenders, singles = false, goals = {} }: Case,
  rounds: number,
  turn: string | undefined,
) {
  const measured = new Map(contenders.map((contender) => [contender, [] as Round[]]));
  for (const { round } of contenders) await round(); // to warm up
  for (let index = 1; index <= rounds; index++) {
    const end = turn === undefined ? undefined : await takeTurn(turn);
    for (const [contender, list] of measured) {
      const round = await contender.round();
      list.push(round);
      console.log(`  round ${index} of ${rounds}: ${contender.name} ${round.seconds.toFixed(3)} s`);
    }

    await end?.();
  }

  const rows = [...measured].map(([contender, list]) => summary(contender, list));
  const [ours, ...peers] = rows as [Row, ...Row[]];
  return {
    name,
    settings,
    rounds,
    contenders: rows,
    ratios: peers.map((peer) => ({
      ours: ours.name,
      peer: peer.name,
      ratio: ours.itemsPerSecond.median / peer.itemsPerSecond.median,
      ...(singles && latencyRatios(ours, peer)),
      ...(goals[peer.name] !== undefined && { goal: goals[peer.name] }),
    })),
  };
}

/** Runs a command up to the first thing it prints; gives what ends it. */
async function takeTurn(command: string): Promise<() => Promise<void>> {
  const child = spawn(command, { shell: true, stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  await Promise.race([once(child.stdout, 'data'), ended]);
  return async () => {
    child.stdin.end();
    await ended;
  };
}

type Row = ReturnType<typeof summary>;

/** How many times as long as ours the peer's p50 and p99 are, where both have them. */
function latencyRatios(ours: Row, peer: Row): Record<string, number> {
  const pairs = ['p50Ms', 'p99Ms'].flatMap((figure) => {
    const [own, theirs] = [ours.figures[figure], peer.figures[figure]];
    return own && theirs ? [[figure.replace('Ms', ''), theirs.median / own.median]] : [];
  });
  return Object.fromEntries(pairs);
}

function summary({ name, versions = {} }: Contender, rounds: readonly Round[]) {
  const figures = Object.keys(rounds[0] ?? {}).filter((key) => key !== 'seconds' && key !== 'items');
  return {
    name,
    versions,
    itemsPerSecond: spread(rounds.map(({ items, seconds }) => items / seconds)),
    seconds: spread(rounds.map(({ seconds }) => seconds)),
    items: (rounds[0] as Round).items,
    figures: Object.fromEntries(
      figures.map((key) => [key, spread(rounds.map((round) => round[key] as number))]),
    ),
  };
}

function spread(values: readonly number[]): Spread {
  return { median: median(values), least: Math.min(...values), most: Math.max(...values) };
}

function printCase({ name, contenders, ratios }: Awaited<ReturnType<typeof measureCase>>): void {
  console.log(name);
  for (const { name: who, itemsPerSecond: rate } of contenders) {
    console.log(
      `  ${who.padEnd(24)} ${rate.median.toFixed(1)}/s (${rate.least.toFixed(1)} to ${rate.most.toFixed(1)})`,
    );
  }

  for (const { ours, peer, ratio, goal } of ratios)
    console.log(`  ${ours} / ${peer}: ${ratio.toFixed(2)}${goal === undefined ? '' : ` (goal ${goal})`}`);
}
