/** Batches that several ranks make together hold the samples of one rank, whatever fails. */
import test from 'ava';
import { DrawRounds, type Result } from '../../lib/data/draw-rounds.js';
import { noPeers, type Peers, sliceOf } from '../../lib/data/peers.js';
import { type Cursor, type Draw, Sampler } from '../../lib/data/sampler.js';
import { ImageError } from '../../lib/errors.js';

/** Ranks of one process: a gather settles when all have called it. */
function ranksOf(world: number): Peers[] {
  let waiting: { value: unknown; rank: number; resolve: (values: never) => void }[] = [];
  const gather = <T>(rank: number, value: T): Promise<T[]> =>
    new Promise((resolve) => {
      waiting.push({ value, rank, resolve: resolve as (values: never) => void });
      if (waiting.length < world) return;
      const all = waiting;
      waiting = [];
      const values = all.sort((a, b) => a.rank - b.rank).map((entry) => entry.value);
      for (const entry of all) entry.resolve(values as never);
    });
  return Array.from({ length: world }, (_, rank) => ({
    rank,
    world,
    gather: (value) => gather(rank, value),
  }));
}

type Item = { readonly sample: number };

interface Batch {
  readonly own: number[];
  readonly all: number[];
  readonly cursor: Cursor;
  readonly failed: string[];
}

const batchSize = 7;
const sizeOf = (rank: number, world: number): number => {
  const { begin, end } = sliceOf(batchSize, { rank, world });
  return end - begin;
};
const makeSampler = (): Sampler => new Sampler({ seed: 3, items: 50, captions: () => 1 });

/** What a rank takes of `count` batches when the samples of `bad` fail; `prepared` notes what was prepared. */
async function take(
  peers: Peers,
  count: number,
  bad: ReadonlySet<number>,
  prepared: number[] = [],
): Promise<Batch[]> {
  const prepare = (draw: Draw): Result<Item> => {
    prepared.push(draw.sample);
    const item = { sample: draw.sample };
    if (!bad.has(draw.sample)) return draw.sample % 2 === 0 ? item : Promise.resolve(item);
    return Promise.resolve({ failure: new ImageError(`sample ${draw.sample}`) });
  };
  const rounds = new DrawRounds<Item>({ sampler: makeSampler(), peers, batchSize, lookahead: 2, prepare });
  const batches: Batch[] = [];
  for (let index = 0; index < count; index++) {
    const [own, all, failed]: [number[], number[], string[]] = [[], [], []];
    for (let owners = rounds.owners; owners.length > 0; ) {
      const round = await rounds.next(owners);
      owners = round.missing;
      own.push(...round.own.map(({ sample }) => sample));
      for (const [at, draw] of round.draws.entries()) {
        const failure = round.failures.get(at);
        if (failure === undefined) all.push(draw.sample);
        else failed.push((failure as Error).message);
      }
    }

    batches.push({ own, all, cursor: rounds.cursor, failed });
  }

  return batches;
}

for (const [name, samples] of [
  ['nothing', []],
  ['one of the first rank', [1]],
  ['all of one rank', [5, 6]],
  ['what replaces a bad one', [0, 7, 8, 9]],
  ['many, over two batches', [2, 3, 7, 8, 10, 11, 12, 16, 20]],
] as const) {
  test(`the union of the ranks is the batch of one rank when this fails: ${name}`, async (t) => {
    const bad = new Set<number>(samples);
    const alone = await take(noPeers, 4, bad);
    t.deepEqual(
      alone.flatMap(({ all }) => all),
      Array.from({ length: 60 }, (_, sample) => sample)
        .filter((sample) => !bad.has(sample))
        .slice(0, 28),
    );
    for (const world of [2, 3, 5]) {
      const ranks = await Promise.all(ranksOf(world).map((peers) => take(peers, 4, bad)));
      for (const [index, want] of alone.entries()) {
        for (const batches of ranks) {
          const { all, cursor, failed } = batches[index] as Batch;
          t.deepEqual({ all, cursor, failed }, { all: want.all, cursor: want.cursor, failed: want.failed });
        }

        t.deepEqual(
          ranks.map((batches) => (batches[index] as Batch).own.length),
          ranks.map((_, rank) => sizeOf(rank, world)),
          'every rank has as many as its slice',
        );
        const union = ranks.flatMap((batches) => (batches[index] as Batch).own);
        t.deepEqual(
          union.sort((a, b) => a - b),
          want.all,
          `${world} ranks, batch ${index}`,
        );
      }
    }
  });
}

test('a rank prepares its own slice and nothing of the others while nothing fails', async (t) => {
  const prepared = [0, 1, 2].map((): number[] => []);
  await Promise.all(ranksOf(3).map((peers, rank) => take(peers, 3, new Set(), prepared[rank])));
  const slices = [0, 1, 2].map((rank) => sliceOf(batchSize, { rank, world: 3 }));
  t.deepEqual(slices, [
    { begin: 0, end: 3 },
    { begin: 3, end: 5 },
    { begin: 5, end: 7 },
  ]);
  for (const [rank, { begin, end }] of slices.entries())
    t.true((prepared[rank] as number[]).every((sample) => sample % 7 >= begin && sample % 7 < end));
});

test('a closed rank answers the others and prepares nothing more', async (t) => {
  let prepared = 0;
  const rounds = ranksOf(2).map(
    (peers) =>
      new DrawRounds<Item>({
        sampler: makeSampler(),
        peers,
        batchSize,
        lookahead: 2,
        prepare: ({ sample }) => {
          prepared++;
          return { sample };
        },
      }),
  );
  for (const one of rounds) one.close();
  const [first, second] = await Promise.all(rounds.map((one) => one.next(one.owners)));
  t.is(prepared, 0);
  t.deepEqual(first?.draws, second?.draws);
});
