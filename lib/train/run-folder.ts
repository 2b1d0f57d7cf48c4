/** The folder of a run: config.yaml, metrics.jsonl, filtered.jsonl, checkpoints/, and the links `latest` and `best` (DESIGN 5). */
import { readdir, rename, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { stringify } from 'yaml';
import type { TrainConfig } from '../config/schema.js';
import { ConfigError } from '../errors.js';
import { fileError, kindOf, readJson } from '../read-file.js';
import { makeDirectory, removeUnfinished, unfinishedMark, writeFileAtomic } from '../write-file.js';
import { runOf, writtenAt } from './checkpoint.js';

const resumedFile = 'resumed.json';

export class RunFolder {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  file(name: string): string {
    return path.join(this.directory, name);
  }

  checkpoint(step: number): string {
    return path.join(this.directory, 'checkpoints', `step-${String(step).padStart(8, '0')}`);
  }

  /** Makes the folder and clears what a crash left. Throws `ERR_COTS_FILE` for a file in its place or no permission. */
  async prepare(): Promise<void> {
    await makeDirectory(path.join(this.directory, 'checkpoints'));
    await removeUnfinished(this.directory);
    await removeUnfinished(path.join(this.directory, 'checkpoints'));
  }

  /** Throws `ERR_COTS_CONFIG` when the folder has checkpoints already and the run is not a resumed one. */
  async refuseOlderRun(): Promise<void> {
    const [newest] = await this.steps();
    if (newest !== undefined) {
      throw new ConfigError(
        `Expected \`train.out\` to be a folder without a run, got ${this.directory}, which has a checkpoint at step ${newest}. Continue it with --resume latest, or set train.out to another folder.`,
      );
    }
  }

  /** The run whose checkpoints are here, and the step of the newest one; undefined without any. */
  async owner(): Promise<{ step: number; run: string | undefined } | undefined> {
    const [step] = await this.steps();
    return step === undefined ? undefined : { step, run: await runOf(this.checkpoint(step)) };
  }

  /** Notes that the run goes on from `step` now: checkpoints of later steps that are there already are of steps it has left. */
  async noteResume(step: number): Promise<void> {
    await writeFileAtomic(this.file(resumedFile), `${JSON.stringify({ step, at: Date.now() })}\n`);
  }

  /** The step that the run last went on from, and when; undefined where it never did. */
  async lastResume(): Promise<{ step: number; at: number } | undefined> {
    if ((await kindOf(this.file(resumedFile))) !== 'file') return undefined;
    const found = (await readJson(this.file(resumedFile))) as { step?: unknown; at?: unknown } | null;
    const { step, at } = found ?? {};
    return typeof step === 'number' && typeof at === 'number' ? { step, at } : undefined;
  }

  async writeConfig(config: TrainConfig): Promise<void> {
    await writeFileAtomic(this.file('config.yaml'), stringify(config));
  }

  /** Steps that have a checkpoint folder, newest first. */
  async steps(): Promise<number[]> {
    const names: string[] = await readdir(path.join(this.directory, 'checkpoints')).catch(() => []);
    return names
      .map((name) => /^step-(\d+)$/.exec(name)?.[1])
      .filter((digits) => digits !== undefined)
      .map(Number)
      .sort((a, b) => b - a);
  }

  async hasCheckpoint(step: number): Promise<boolean> {
    return (await kindOf(this.checkpoint(step))) === 'directory';
  }

  /** Points `latest` or `best` to the checkpoint of a step: a relative symbolic link, replaced in one rename. Null removes it. */
  async point(name: 'latest' | 'best', step: number | null): Promise<void> {
    const link = this.file(name);
    const temporary = this.file(`${unfinishedMark}${name}`);
    try {
      if (step === null) return await rm(link, { force: true });
      await rm(temporary, { force: true });
      await symlink(path.relative(this.directory, this.checkpoint(step)), temporary);
      await rename(temporary, link);
    } catch (error) {
      throw fileError(error, 'write the link', link);
    }
  }

  /**
   * Deletes the checkpoints of steps after `step` (a run that went back) and, of the others, all but the newest `keep`, the best
   * and the first of every `keepEveryHours` hours of the clock.
   */
  async prune(
    { keep, keepEveryHours }: Pick<TrainConfig['checkpoint'], 'keep' | 'keepEveryHours'>,
    step: number,
    best: number | null,
  ): Promise<void> {
    const steps = await this.steps();
    const past = steps.filter((other) => other <= step);
    const kept = new Set([...past.slice(0, keep), best, ...(await this.#firstOfEvery(keepEveryHours, past))]);
    for (const other of steps) {
      if (!kept.has(other)) await rm(this.checkpoint(other), { recursive: true, force: true });
    }
  }

  async #firstOfEvery(hours: number, past: readonly number[]): Promise<number[]> {
    if (hours === 0) return [];
    const first = new Map<number, number>();
    for (const step of past) {
      const time = await writtenAt(this.checkpoint(step));
      if (time !== undefined) first.set(Math.floor(time / (hours * 3_600_000)), step); // newest first: the oldest stays
    }

    return [...first.values()];
  }
}
