/** The lines of the live view of `cots train`: what they say, and how they fit a terminal of any width. */
import type { RetrievalResult } from '../evaluate/retrieval.js';
import type { Metrics } from '../train/metrics.js';
import { humanBytes, humanNumber, humanSeconds } from './output.js';

/** What the view shows. */
export interface TrainState {
  readonly step: number;
  readonly total: number;
  /** Seconds of this process's training, and what the rest will take at its rate. */
  readonly elapsed: number;
  readonly left: number;
  /** The last steps, oldest first; their mean is shown, so that figures can be read. */
  readonly recent: readonly Metrics[];
  /** Loss over the run so far, evenly thinned out, oldest first. */
  readonly history: readonly number[];
  readonly lossesOn: readonly ShownLoss[];
  readonly filter: boolean;
  /** Bytes of memory that this process may take. */
  readonly memoryLimit: number;
  readonly evaluation: Evaluation | undefined;
  readonly best: { readonly step: number; readonly rsum: number } | undefined;
  /** What goes on beside or in place of steps, such as `evaluating`. */
  readonly phase: string;
}

interface Evaluation {
  readonly step: number;
  readonly result: RetrievalResult;
}

const lossNames = {
  loss_image_to_text: 'image-text',
  loss_text_to_image: 'text-image',
  loss_task: 'task',
  loss_cmvm: 'cmvm',
  loss_cmlm: 'cmlm',
} as const;
export type ShownLoss = keyof typeof lossNames;

const labelWidth = 8;
const gap = '   ';
const widestBar = 80;
const widestCurve = 48;
const [fullCell, emptyCell, lowestBlock] = ['\u2588', '\u2591', 0x2581];
const blocks = 8;

/** Lines of at most `columns` characters; as many whatever the width, so that the view does not jump. */
export function trainLines(state: TrainState, columns: number): string[] {
  const width = Math.max(1, columns);
  return [
    joined(headParts(state), width),
    bar(state.total > 0 ? state.step / state.total : 1, Math.min(width, widestBar)),
    labeled('loss', lossParts(state, width), width),
    labeled('parts', partsOf(state), width),
    labeled('filter', filterParts(state), width),
    labeled('speed', speedParts(state), width),
    labeled('optim', optimizerParts(state), width),
    labeled('eval', evaluationParts(state), width),
  ];
}

function headParts({ step, total, elapsed, left, phase }: TrainState): string[] {
  const percent = total > 0 ? Math.floor((100 * step) / total) : 100;
  return [
    `step ${humanNumber(step).padStart(humanNumber(total).length)} of ${humanNumber(total)} (${percent} %)`,
    `${humanSeconds(left)} left`,
    `${humanSeconds(elapsed)} so far`,
    ...(phase === '' ? [] : [phase]),
  ];
}

function lossParts({ recent, history }: TrainState, width: number): string[] {
  const cells = Math.min(widestCurve, width - labelWidth - gap.length - 8);
  return [figure(mean(recent, 'loss'), 3, 8), ...(cells >= 8 ? [curve(history, cells)] : [])];
}

function partsOf({ recent, lossesOn }: TrainState): string[] {
  return lossesOn.map((name) => `${lossNames[name]} ${figure(mean(recent, name), 3, 6)}`);
}

function filterParts({ recent, filter }: TrainState): string[] {
  const last = recent.at(-1);
  if (!filter) return ['off'];
  const kept = (100 * mean(recent, 'filter_kept')) / mean(recent, 'pairs');
  return [
    `keeps ${figure(kept, 1, 5)} %`,
    `threshold ${figure(last?.filter_threshold, 3, 6)}`,
    `queue ${last === undefined ? '-' : humanNumber(last.queue_valid)}`,
  ];
}

function speedParts({ recent, memoryLimit }: TrainState): string[] {
  const last = recent.at(-1);
  const rate = rateOf(recent);
  return [
    `${figure(rate, rate !== undefined && rate < 10 ? 3 : 1, 6)} pairs/s`,
    `memory ${last === undefined ? '-' : humanBytes(last.rss_bytes)} of ${humanBytes(memoryLimit)}`,
    `${figure(100 * mean(recent, 'mfu'), 0, 3)} % of the processor`,
  ];
}

function optimizerParts({ recent }: TrainState): string[] {
  const last = recent.at(-1);
  return [
    `rate ${last === undefined ? '-' : last.lr.toExponential(2)}`,
    `gradient ${figure(mean(recent, 'grad_norm'), 2, 7)}`,
    `temperature ${figure(last?.temperature, 4, 6)}`,
  ];
}

function evaluationParts({ evaluation, best }: TrainState): string[] {
  if (evaluation === undefined) return ['none yet'];
  const { imageToText, textToImage, rsum } = evaluation.result;
  return [
    `step ${humanNumber(evaluation.step)}: RSum ${rsum.toFixed(1)}`,
    `R@1 ${imageToText.r1.toFixed(1)} image-text, ${textToImage.r1.toFixed(1)} text-image`,
    ...(best === undefined ? [] : [`best RSum ${best.rsum.toFixed(1)} at step ${humanNumber(best.step)}`]),
  ];
}

/** Pairs over seconds of the last steps: a mean of rates would favor the fast ones. */
function rateOf(recent: readonly Metrics[]): number | undefined {
  const pairs = recent.reduce((sum, row) => sum + row.pairs, 0);
  const seconds = recent.reduce((sum, row) => sum + row.pairs / row.pairs_per_second, 0);
  return seconds > 0 ? pairs / seconds : undefined;
}

function mean(rows: readonly Metrics[], key: keyof Metrics): number {
  return rows.reduce((sum, row) => sum + row[key], 0) / rows.length;
}

/** A number in a fixed width, so that what stands behind it stays where it is. */
function figure(value: number | undefined, digits: number, width: number): string {
  const known = value !== undefined && !Number.isNaN(value);
  return (known ? value.toFixed(digits) : '-').padStart(width);
}

function labeled(label: string, parts: readonly string[], width: number): string {
  return joined([`${label.padEnd(labelWidth)}${parts[0] ?? '-'}`, ...parts.slice(1)], width);
}

/** As many parts as fit whole; the first is cut where it alone is too long. */
function joined(parts: readonly string[], width: number): string {
  let line = (parts[0] ?? '').slice(0, width);
  for (const part of parts.slice(1)) {
    if (line.length + gap.length + part.length > width) break;
    line += gap + part;
  }

  return line.trimEnd();
}

function bar(share: number, width: number): string {
  const full = Math.round(Math.min(1, share) * width);
  return fullCell.repeat(full) + emptyCell.repeat(width - full);
}

/** The last `cells` values as blocks of eight heights between their least and greatest. */
function curve(values: readonly number[], cells: number): string {
  const shown = values.slice(-cells);
  const [low, high] = [Math.min(...shown), Math.max(...shown)];
  return shown
    .map((value) => {
      const height = high > low ? Math.round(((blocks - 1) * (value - low)) / (high - low)) : 0;
      return String.fromCharCode(lowestBlock + height);
    })
    .join('');
}
