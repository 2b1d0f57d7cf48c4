/** What `cots train` shows while it runs, on stderr: a live view on a terminal, lines elsewhere. */
import { createLogUpdate } from 'log-update';
import type { TrainConfig } from '../config/schema.js';
import { usableMemory } from '../device.js';
import type { Metrics } from '../train/metrics.js';
import type { TrainEvent } from '../train/trainer.js';
import { isTerminal, startProgress } from './progress.js';
import { type ShownLoss, type TrainState, trainLines } from './train-lines.js';

export interface TrainDisplay {
  show(event: TrainEvent): void;
  /** A line that stays. */
  say(line: string): void;
  stop(): void;
}

/** The run to show. */
export interface ShownRun {
  readonly config: TrainConfig;
  readonly totalSteps: number;
  /** Steps done before this process. */
  readonly step: number;
}

const recentSteps = 20;
const historyPoints = 96;
const redrawMs = 100;
const idleRedrawMs = 1000;

export function startTrainDisplay(run: ShownRun): TrainDisplay {
  return isTerminal() ? liveView(run) : plainLines(run);
}

function plainLines({ totalSteps, step: done }: ShownRun): TrainDisplay {
  const progress = startProgress({ title: 'training', total: totalSteps, unit: 'steps', done });
  return {
    show(event) {
      if (event.type === 'step') {
        const { loss, filter_kept, pairs, lr } = event;
        progress.update(
          event.step,
          `loss ${loss.toFixed(3)}, lr ${lr.toExponential(1)}, kept ${filter_kept}/${pairs}, ${event.pairs_per_second.toFixed(0)} pairs/s`,
        );
      } else {
        for (const line of lastingLines(event)) progress.say(line);
      }
    },
    say: (line) => progress.say(line),
    stop: () => progress.stop(),
  };
}

/** Redrawn when a step is done, but not more often than can be read, and once a second for the time left. */
function liveView(run: ShownRun): TrainDisplay {
  const log = createLogUpdate(process.stderr);
  const state = stateOf(run);
  let drawn = 0;
  let isOpen = true;
  let lines: string[] = [];
  const draw = (): void => {
    if (!isOpen) return;
    drawn = performance.now();
    lines = trainLines(state.now(), process.stderr.columns);
    log(lines.join('\n'));
  };
  const say = (line: string): void => {
    if (!isOpen) return void process.stderr.write(`${line}\n`);
    log.persist(line);
    draw();
  };
  const onResize = (): void => {
    const columns = process.stderr.columns;
    // A narrower terminal has broken the lines into more rows than were drawn.
    const rows = lines.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / columns)), 0);
    process.stderr.write(`\r\u001b[${rows}A\u001b[J`);
    log.done();
    draw();
  };
  const timer = setInterval(draw, idleRedrawMs).unref();
  process.stderr.on('resize', onResize);
  draw();
  return {
    show(event) {
      state.add(event);
      for (const line of lastingLines(event)) say(line);
      if (performance.now() - drawn >= redrawMs) draw();
    },
    say,
    stop() {
      if (!isOpen) return;
      draw();
      isOpen = false;
      clearInterval(timer);
      process.stderr.off('resize', onResize);
      log.done();
    },
  };
}

/** Lines that must not be lost in the view. */
function lastingLines(event: TrainEvent): string[] {
  if (event.type === 'warning') return [`warning: ${event.message}`];
  if (event.type === 'checkpoint') return [`step ${event.step}: checkpoint ${event.path}`];
  if (event.type !== 'evaluation') return [];
  const { imageToText, textToImage, rsum } = event.result;
  return [
    `step ${event.step}: R@1 ${imageToText.r1.toFixed(1)} image to text, ${textToImage.r1.toFixed(1)} text to image, RSum ${rsum.toFixed(1)}`,
  ];
}

function stateOf({ config, totalSteps, step: done }: ShownRun): {
  add(event: TrainEvent): void;
  now(): TrainState;
} {
  const start = performance.now();
  const recent: Metrics[] = [];
  const history = new ThinnedHistory(historyPoints);
  const memoryLimit = usableMemory();
  let step = done;
  let evaluation: TrainState['evaluation'];
  let best: TrainState['best'];
  return {
    add(event) {
      if (event.type === 'step') {
        step = event.step;
        recent.push(event);
        if (recent.length > recentSteps) recent.shift();
        history.add(event.loss);
      } else if (event.type === 'evaluation') {
        evaluation = event;
        const { rsum } = event.result;
        if (best === undefined || rsum > best.rsum) best = { step: event.step, rsum };
      }
    },
    now() {
      const elapsed = (performance.now() - start) / 1000;
      const left = step > done ? (elapsed * (totalSteps - step)) / (step - done) : Infinity;
      return {
        step,
        total: totalSteps,
        elapsed,
        left,
        recent,
        history: history.values(),
        lossesOn: lossesOn(config),
        filter: config.amf.enabled,
        memoryLimit,
        evaluation,
        best,
        phase: '',
      };
    },
  };
}

function lossesOn({ loss: { weights } }: TrainConfig): ShownLoss[] {
  const all: [number, ShownLoss[]][] = [
    [weights.instance, ['loss_image_to_text', 'loss_text_to_image']],
    [weights.task, ['loss_task']],
    [weights.cmvm, ['loss_cmvm']],
    [weights.cmlm, ['loss_cmlm']],
  ];
  return all.flatMap(([weight, names]) => (weight > 0 ? names : []));
}

/** A curve of a bounded number of points: when it is full, neighbors are merged and each point stands for twice as many values. */
class ThinnedHistory {
  readonly #most: number;
  #points: number[] = [];
  #perPoint = 1;
  #sum = 0;
  #count = 0;

  constructor(most: number) {
    this.#most = most;
  }

  add(value: number): void {
    if (!Number.isFinite(value)) return;
    this.#sum += value;
    if (++this.#count < this.#perPoint) return;
    this.#points.push(this.#sum / this.#count);
    this.#sum = 0;
    this.#count = 0;
    if (this.#points.length < this.#most) return;
    this.#points = this.#points.flatMap((point, index) =>
      index % 2 === 0 ? [(point + (this.#points[index + 1] ?? point)) / 2] : [],
    );
    this.#perPoint *= 2;
  }

  values(): readonly number[] {
    return this.#points;
  }
}
