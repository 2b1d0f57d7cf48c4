/** RUN/tensorboard: the figures of metrics.jsonl and of the evaluations as TensorBoard's scalars (`train.tensorboard`). */
import { type FileHandle, open, readdir, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import type { RetrievalResult } from '../evaluate/retrieval.js';
import { fileError } from '../read-file.js';
import { makeDirectory } from '../write-file.js';
import { scalarsEvent, startEvent, versionEvent } from './event-file.js';
import type { Metrics } from './metrics.js';

/** Tags, grouped as TensorBoard shows them: what stands before the slash is a section. */
const tags: Readonly<Record<string, (metrics: Metrics) => number>> = {
  'loss/total': ({ loss }) => loss,
  'loss/image_to_text': ({ loss_image_to_text }) => loss_image_to_text,
  'loss/text_to_image': ({ loss_text_to_image }) => loss_text_to_image,
  'loss/task': ({ loss_task }) => loss_task,
  'loss/cmvm': ({ loss_cmvm }) => loss_cmvm,
  'loss/cmlm': ({ loss_cmlm }) => loss_cmlm,
  'filter/mean': ({ filter_mean }) => filter_mean,
  'filter/std': ({ filter_std }) => filter_std,
  'filter/threshold': ({ filter_threshold }) => filter_threshold,
  'filter/kept_share': ({ filter_kept, pairs }) => filter_kept / pairs,
  'filter/queue_valid': ({ queue_valid }) => queue_valid,
  'optim/lr': ({ lr }) => lr,
  'optim/grad_norm': ({ grad_norm }) => grad_norm,
  'optim/temperature': ({ temperature }) => temperature,
  'optim/momentum': ({ momentum }) => momentum,
  'speed/pairs_per_second': ({ pairs_per_second }) => pairs_per_second,
  'speed/mfu': ({ mfu }) => mfu,
  'speed/rss_bytes': ({ rss_bytes }) => rss_bytes,
};

export class TensorboardLog {
  readonly #folder: string;
  #file = '';
  #handle: FileHandle | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Begins a file. Those of earlier processes stay for a run that is resumed, and their events after `step` are called back; those of
   * another run (`step` 0) go.
   */
  async openAt(step: number): Promise<void> {
    await makeDirectory(this.#folder);
    const earlier = (await readdir(this.#folder)).filter((name) => name.startsWith('events.out.tfevents.'));
    if (step === 0) for (const name of earlier) await rm(path.join(this.#folder, name));
    const now = Date.now();
    // Readers take the files in the order of their names.
    const name = ['events.out.tfevents', String(now).padStart(14, '0'), hostname(), process.pid].join('.');
    this.#file = path.join(this.#folder, name);
    await this.#do(async () => {
      this.#handle = await open(this.#file, 'ax');
    });
    await this.#write(versionEvent(now / 1000));
    await this.#write(startEvent(now / 1000, step + 1));
  }

  async addStep(metrics: Metrics): Promise<void> {
    const scalars = Object.fromEntries(Object.entries(tags).map(([tag, value]) => [tag, value(metrics)]));
    await this.#write(scalarsEvent(Date.now() / 1000, metrics.step, scalars));
  }

  async addEvaluation(step: number, { imageToText, textToImage, rsum }: RetrievalResult): Promise<void> {
    const scalars = {
      'evaluation/rsum': rsum,
      ...directionScalars('image_to_text', imageToText),
      ...directionScalars('text_to_image', textToImage),
    };
    await this.#write(scalarsEvent(Date.now() / 1000, step, scalars));
  }

  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
  }

  async #write(record: Buffer): Promise<void> {
    await this.#do(async () => this.#handle?.appendFile(record));
  }

  async #do(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      throw fileError(error, 'write', this.#file);
    }
  }
}

function directionScalars(
  name: string,
  { r1, r5, r10, medianRank, meanRank }: RetrievalResult['imageToText'],
): Record<string, number> {
  const figures = { r1, r5, r10, median_rank: medianRank, mean_rank: meanRank };
  return Object.fromEntries(
    Object.entries(figures).map(([key, value]) => [`evaluation/${name}_${key}`, value]),
  );
}
