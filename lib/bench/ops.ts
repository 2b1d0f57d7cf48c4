/** `bench ops`: the public kernels at the sizes of DESIGN 7. */

import { binding } from '../binding.js';
import { measurePeak, usableCores } from '../device.js';
import { evaluateRetrieval } from '../evaluate/retrieval.js';
import { momentumFilter, queueContrast, resize, topK } from '../ops.js';
import { type BenchContext, benchContext } from './machine.js';
import { uniform, unitRows } from './synthetic.js';
import { type Latency, latency, median, repeatFor } from './timing.js';

export interface OpRow {
  readonly op: string;
  readonly sizes: Readonly<Record<string, number | string>>;
  readonly calls: number;
  readonly latencyMs: Latency;
  /** Arithmetic of one call; 0 where it is not what counts. */
  readonly flops: number;
  readonly gflopsPerSecond: number;
  /** Flops a second over `peakFlops`. */
  readonly utilisation: number;
}

export interface BenchOpsResult extends BenchContext {
  /** Flops a second of a dense float32 product, measured in the same run. */
  readonly peakFlops: number;
  readonly rows: readonly OpRow[];
}

interface Case {
  readonly op: string;
  readonly sizes: OpRow['sizes'];
  readonly flops: number;
  readonly make: () => () => Promise<unknown>;
}

export const opNames = ['queueContrast', 'momentumFilter', 'topK', 'resize', 'evaluateRetrieval'] as const;

/** `seconds` a row at least; `only` one op. */
export async function benchOps(options: {
  seconds: number;
  only?: string | undefined;
  onRow?: (row: OpRow) => void;
}): Promise<BenchOpsResult> {
  const rows: OpRow[] = [];
  const threads = binding().info().threads || usableCores();
  const peakFlops = await measurePeak(threads);
  for (const { op, sizes, flops, make } of cases()) {
    if (options.only !== undefined && op !== options.only) continue;
    const times = await repeatFor(options.seconds, 3, make());
    const flopsPerSecond = (1000 * flops) / median(times);
    const row = {
      op,
      sizes,
      calls: times.length,
      latencyMs: latency(times),
      flops,
      gflopsPerSecond: flopsPerSecond / 1e9,
      utilisation: flopsPerSecond / peakFlops,
    };
    rows.push(row);
    options.onRow?.(row);
  }

  return { peakFlops, rows, ...benchContext(threads) };
}

function cases(): Case[] {
  return [
    contrastCase(256, 256, 65_536),
    contrastCase(128, 256, 4096),
    filterCase(512, 65_536),
    topKCase(1000, 100_000, 256, 10),
    topKCase(1, 100_000, 256, 10),
    resizeCase(640, 480, 384, 'bicubic'),
    resizeCase(640, 480, 192, 'lanczos'),
    retrievalCase(5000, 5, 256),
  ];
}

function contrastCase(B: number, D: number, n: number): Case {
  return {
    op: 'queueContrast',
    sizes: { B, D, n },
    flops: 12 * B * n * D,
    make() {
      const [image, text, imageKey, textKey] = [1, 2, 3, 4].map((seed) => unitRows(B, D, seed)) as [
        never,
        never,
        never,
        never,
      ];
      const [imageQueue, textQueue] = [unitRows(n, D, 5), unitRows(n, D, 6)];
      return () =>
        queueContrast({ image, text, imageKey, textKey, imageQueue, textQueue, temperature: 0.05 });
    },
  };
}

function filterCase(B: number, n: number): Case {
  return {
    op: 'momentumFilter',
    sizes: { B, n },
    flops: 0,
    make() {
      const scores = unitRows(1, B, 1).data;
      const queueScores = unitRows(1, n, 2).data;
      return () => momentumFilter({ scores, queueScores });
    },
  };
}

function topKCase(Q: number, N: number, D: number, k: number): Case {
  return {
    op: 'topK',
    sizes: { Q, N, D, k },
    flops: 2 * Q * N * D,
    make() {
      const queries = unitRows(Q, D, 1);
      const gallery = unitRows(N, D, 2);
      return () => topK({ queries, gallery, k });
    },
  };
}

function resizeCase(width: number, height: number, side: number, filter: 'bicubic' | 'lanczos'): Case {
  return {
    op: 'resize',
    sizes: { width, height, side, filter },
    flops: 0,
    make() {
      const random = uniform(1);
      const data = Uint8Array.from({ length: 3 * width * height }, () => 256 * random());
      return () => resize({ data, width, height, to: [side, side], filter });
    },
  };
}

function retrievalCase(I: number, perImage: number, D: number): Case {
  return {
    op: 'evaluateRetrieval',
    sizes: { I, T: I * perImage, D },
    flops: 2 * I * I * perImage * D,
    make() {
      const images = unitRows(I, D, 1);
      const texts = unitRows(I * perImage, D, 2);
      const imageOfText = Int32Array.from({ length: I * perImage }, (_, text) => Math.floor(text / perImage));
      return () => evaluateRetrieval({ images, texts, imageOfText, protocol: 'plain' });
    },
  };
}
