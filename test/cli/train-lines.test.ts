/** The live view's lines at any width. */
import test from 'ava';
import { type TrainState, trainLines } from '../../lib/cli/train-lines.js';
import type { RetrievalResult } from '../../lib/index.js';
import type { Metrics } from '../../lib/train/metrics.js';

const row: Metrics = {
  step: 412,
  pairs: 64,
  loss: 5.4321,
  loss_image_to_text: 1.2,
  loss_text_to_image: 1.3,
  loss_task: 0.04,
  loss_cmvm: 5.1,
  loss_cmlm: 3.2,
  filter_mean: 0.3,
  filter_std: 0.1,
  filter_threshold: 0.2,
  filter_kept: 48,
  queue_valid: 1024,
  lr: 1.9e-3,
  temperature: 0.03,
  momentum: 0.97,
  grad_norm: 1.25,
  pairs_per_second: 200,
  mfu: 0.41,
  rss_bytes: 1.5 * 2 ** 30,
  device_bytes: 0,
};

const direction = { r1: 12.34, r5: 20, r10: 30, medianRank: 9, meanRank: 20 };
const result = {
  imageToText: direction,
  textToImage: { ...direction, r1: 14 },
  rsum: 210.25,
} as unknown as RetrievalResult;

const state: TrainState = {
  step: 412,
  total: 1300,
  elapsed: 252,
  left: 543,
  recent: [row, { ...row, loss: 5.5679, filter_kept: 64, pairs_per_second: 100 }],
  history: [9, 8, 7, 6, 5, 4, 3, 2],
  lossesOn: ['loss_image_to_text', 'loss_text_to_image', 'loss_task', 'loss_cmvm', 'loss_cmlm'],
  filter: true,
  memoryLimit: 8 * 2 ** 30,
  evaluation: { step: 400, result },
  best: { step: 300, rsum: 213 },
  phase: '',
};

test('a wide terminal is told everything', (t) => {
  t.deepEqual(trainLines(state, 120), [
    'step   412 of 1,300 (31 %)   9m03s left   4m12s so far',
    `${'\u2588'.repeat(25)}${'\u2591'.repeat(55)}`,
    'loss       5.500   \u2588\u2587\u2586\u2585\u2584\u2583\u2582\u2581',
    'parts   image-text  1.200   text-image  1.300   task  0.040   cmvm  5.100   cmlm  3.200',
    'filter  keeps  87.5 %   threshold  0.200   queue 1,024',
    'speed    133.3 pairs/s   memory 1.5 GiB of 8.0 GiB    41 % of the processor',
    'optim   rate 1.90e-3   gradient    1.25   temperature 0.0300',
    'eval    step 400: RSum 210.3   R@1 12.3 image-text, 14.0 text-image   best RSum 213.0 at step 300',
  ]);
});

test('at every width the lines fit and are as many', (t) => {
  const wide = trainLines(state, 200);
  for (let columns = 1; columns <= 130; columns++) {
    const lines = trainLines(state, columns);
    t.is(lines.length, wide.length, String(columns));
    for (const [index, line] of lines.entries()) {
      t.true(line.length <= columns, `${columns}: ${line}`);
      if (index !== 1 && index !== 2) t.true(wide[index]?.startsWith(line.trimEnd()), line);
    }
  }
});

test('before the first step, and with the filter and losses off', (t) => {
  const lines = trainLines(
    { ...state, step: 0, left: Infinity, recent: [], history: [], filter: false, evaluation: undefined },
    80,
  );
  t.is(lines[0], 'step     0 of 1,300 (0 %)   - left   4m12s so far');
  t.is(lines[3], 'parts   image-text      -   text-image      -   task      -   cmvm      -');
  t.is(lines[4], 'filter  off');
  t.is(lines[7], 'eval    none yet');
  t.notRegex(lines.join('\n'), /NaN|undefined|Infinity/);
});

test('a loss that is not finite is said, not drawn', (t) => {
  const lines = trainLines({ ...state, recent: [{ ...row, loss: Number.NaN }] }, 80);
  t.regex(lines[2] ?? '', /^loss +- /);
});
