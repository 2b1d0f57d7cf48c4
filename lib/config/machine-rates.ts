/** The rates that `stepSeconds` needs, timed on this machine. */
import { measurePeak, measureProduct } from '../device.js';
import { threadsOf } from './load.js';
import type { TrainConfig } from './schema.js';
import { type MachineRates, type ProductShape, productShapes } from './step-time.js';

/** A product with one row reads its weight once and does little else; larger than any cache. */
const readShape: ProductShape = [1, 4096, 8192];
const bytesPerFlop = 2;

/** About 50 ms a shape, or three products where those take longer. */
export async function measureRates(config: TrainConfig, codes: number): Promise<MachineRates> {
  const threads = threadsOf(config);
  const measured = new Map<string, number>();
  for (const shape of productShapes(config, codes))
    if (!measured.has(nameOf(shape))) measured.set(nameOf(shape), await measureProduct(shape, threads));
  const peak = await measurePeak(threads);
  return {
    product: (shape) => measured.get(nameOf(shape)) ?? peak,
    peak,
    bytes: (await measureProduct(readShape, threads)) * bytesPerFlop,
  };
}

function nameOf(shape: ProductShape): string {
  return shape.join(' x ');
}
