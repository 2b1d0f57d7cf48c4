/** Runs the real binary as the ranks of one run on this machine, with the variables that torchrun sets. */
import type { ChildProcess } from 'node:child_process';
import { createServer } from 'node:net';
import { type Outcome, startCots } from './cli.js';

/** Sees what a rank writes to stderr as it comes; `ranks` are all processes. */
export type WatchRank = (rank: number, stderr: string, ranks: readonly ChildProcess[]) => void;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The outcomes of all ranks, by rank. A world of 1 is a plain process. */
export async function cotsRanks(
  world: number,
  args: readonly string[],
  watch?: WatchRank,
): Promise<Outcome[]> {
  const port = String(await freePort());
  const children: ChildProcess[] = [];
  const ended = Array.from({ length: world }, (_, rank) => {
    const env = {
      RANK: String(rank),
      WORLD_SIZE: String(world),
      LOCAL_RANK: String(rank),
      LOCAL_WORLD_SIZE: String(world),
      MASTER_ADDR: '127.0.0.1',
      MASTER_PORT: port,
    };
    const started = startCots(args, (stderr) => watch?.(rank, stderr, children), world === 1 ? {} : env);
    children.push(started.child);
    return started.ended;
  });
  return Promise.all(ended);
}
