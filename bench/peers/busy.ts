/** How quiet the machine is. */
import { cpus } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';

/** Share of all cores that was in use during one second. */
export async function busyShare(): Promise<number> {
  const ticks = (): [idle: number, all: number] => {
    const times = cpus().map((cpu) => cpu.times);
    const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
    return [sum(times.map(({ idle }) => idle)), sum(times.flatMap((time) => Object.values(time)))];
  };
  const [idle, all] = ticks();
  await pause(1000);
  const [idleAfter, allAfter] = ticks();
  return 1 - (idleAfter - idle) / (allAfter - all);
}
