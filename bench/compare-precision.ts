/**
 * What a smaller number type does to retrieval: a trained model embeds the test split in each precision; R@1 and the least cosine
 * to float32. `node dist/bench/compare-precision.js MODEL MANIFEST`, such as
 * `runs/demo/run/latest runs/demo/scenes/manifest.jsonl` after `npm run demo`.
 */
import { parseArgs } from 'node:util';
import { benchContext } from '../lib/bench/machine.js';
import { binding, type Matrix } from '../lib/binding.js';
import { openDataset } from '../lib/data/open.js';
import type { Precision } from '../lib/device.js';
import { type EmbeddedSplit, embedSplit } from '../lib/evaluate/embed-split.js';
import { evaluateRetrieval } from '../lib/evaluate/retrieval.js';
import { Cots } from '../lib/model/cots.js';
import { writeRecord } from './record.js';

const precisions: readonly Precision[] = ['float32', 'bfloat16', 'int8'];
/** Points of R@1 that a smaller type may move, and how near its vectors must be. */
const mostPoints = 0.5;
const leastCosine = 0.998;

const { positionals } = parseArgs({ allowPositionals: true });
const [weights, manifest] = positionals;
if (weights === undefined || manifest === undefined) {
  console.error('Expected two arguments: the folder of a model, and a manifest with a test split.');
  process.exit(2);
}

const { entries } = await openDataset(manifest, { split: 'test', requireCaptions: true });
const rows = [];
let exact: EmbeddedSplit | undefined;
for (const precision of precisions) {
  const model = await Cots.load(weights, { precision });
  const embedded = await embedSplit(model, entries);
  model.dispose();
  exact ??= embedded;
  const { textToImage, imageToText, rsum, n } = await evaluateRetrieval({ ...embedded, protocol: 'plain' });
  const row = {
    precision,
    n,
    r1: { textToImage: textToImage.r1, imageToText: imageToText.r1 },
    rsum,
    leastCosine: {
      images: smallestCosine(embedded.images, exact.images),
      texts: smallestCosine(embedded.texts, exact.texts),
    },
  };
  rows.push(row);
  console.log(
    `${precision.padEnd(9)} R@1 text to image ${row.r1.textToImage.toFixed(2)} %, image to text ${row.r1.imageToText.toFixed(2)} %, RSum ${rsum.toFixed(1)}; least cosine ${row.leastCosine.images.toFixed(5)} (images), ${row.leastCosine.texts.toFixed(5)} (texts)`,
  );
}

const { bfloat16, int8 } = binding().info().cpu;
await writeRecord(
  'compare-precision',
  'node dist/bench/compare-precision.js runs/demo/run/latest runs/demo/scenes/manifest.jsonl',
  {
    machine: { ...benchContext(1).machine, bfloat16, int8 },
    goals: { mostPoints, leastCosine },
    rows,
  },
);

/** Over the rows of two matrices of unit rows. */
function smallestCosine(a: Matrix, b: Matrix): number {
  const [count, width] = a.shape;
  let least = 1;
  for (let row = 0; row < count; row++) {
    let dot = 0;
    for (let column = 0; column < width; column++) {
      const place = row * width + column;
      dot += (a.data[place] as number) * (b.data[place] as number);
    }
    least = Math.min(least, dot);
  }

  return least;
}
