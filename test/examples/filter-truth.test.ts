import test from 'ava';
import { judgeFilter } from '../../examples/emoji-scenes/filter-truth.js';

const pair = (id: string, score: number, kept: boolean) => ({ id, score, kept });

test('precision, recall and AUC by hand, a tie counting half', (t) => {
  const decisions = [
    pair('a', 0.9, true),
    pair('b', 0.5, true),
    pair('c', 0.1, false),
    pair('x', 0.5, true),
    pair('y', 0.0, false),
  ];
  const report = judgeFilter(decisions, new Set(['x', 'y']));
  t.like(report, { mismatched: 2, kept: 3, dropped: 2, precision: 0.5, recall: 0.5 });
  // Pairs (matched, mismatched) in order: a>x, a>y, b=x, b>y, c<x, c>y.
  t.is(report.auc, (1 + 1 + 0.5 + 1 + 0 + 1) / 6);
});

test('nothing dropped is no precision, not NaN', (t) => {
  t.like(judgeFilter([pair('a', 1, true), pair('x', 0, true)], new Set(['x'])), {
    precision: 0,
    recall: 0,
    auc: 1,
  });
});

test('captions that are all right have no AUC', (t) => {
  const report = judgeFilter([pair('a', 1, true), pair('b', 0, false)], new Set());
  t.like(report, { mismatched: 0, dropped: 1, precision: 0, recall: 0, auc: null });
});
