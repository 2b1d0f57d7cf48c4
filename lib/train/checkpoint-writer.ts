/**
 * Checkpoints of a run, one at a time: begun between two steps, written beside those that follow, by each rank its part, and
 * complete when the first rank has put the folder in its place. All ranks call the same functions between the same steps.
 */
import type { NativeCheckpoint } from '../binding.js';
import { CotsError, type CotsErrorCode } from '../errors.js';
import { writeModelText } from '../model/model-folder.js';
import { beginFolder, type UnfinishedFolder } from '../write-file.js';
import { type CheckpointState, completeCheckpoint, type FileSizes, partSizes } from './checkpoint.js';
import type { PreparedRun } from './prepare-run.js';

/** What a rank's part has come to; plain JSON. */
type Outcome = { sizes: FileSizes } | { code: string; message: string };

interface Pending {
  readonly state: CheckpointState;
  /** On the first rank. */
  readonly folder: UnfinishedFolder | undefined;
  readonly written: Promise<Outcome>;
  outcome?: Outcome;
}

export class CheckpointWriter {
  readonly #run: PreparedRun;
  #pending: Pending | undefined;

  constructor(run: PreparedRun) {
    this.#run = run;
  }

  /** Takes the state as it is now. With `checkpoint.async` it is written while the run goes on. Throws `ERR_COTS_FILE`. */
  async begin(state: CheckpointState): Promise<void> {
    const { ranks, native, folder: runFolder, config } = this.#run;
    const folder = ranks.isFirst ? await beginFolder(runFolder.checkpoint(state.step)) : undefined;
    const [directory] = (await ranks.gather('checkpoint', folder?.path)) as [string];
    const part = config.checkpoint.async ? await native.capture() : undefined;
    const written = this.#write(directory, part).catch((error: CotsError): Outcome => {
      const { code, message } = error;
      return { code, message };
    });
    const pending: Pending = { state, folder, written };
    written.then((outcome) => {
      pending.outcome = outcome;
    });
    this.#pending = pending;
    if (part === undefined) await written;
  }

  /** The step of the checkpoint that was begun, once every rank has written its part; undefined before, and where none was begun. */
  async finish(wait: boolean): Promise<number | undefined> {
    const pending = this.#pending;
    if (pending === undefined) return undefined;
    if (wait) await pending.written;
    const outcomes = await this.#run.ranks.gather('written', pending.outcome ?? null);
    if (outcomes.includes(null)) return undefined;
    this.#pending = undefined;
    await this.#complete(pending, outcomes as Outcome[]);
    return pending.state.step;
  }

  async #write(directory: string, part: NativeCheckpoint | undefined): Promise<Outcome> {
    const { ranks, native, description, tokenizer } = this.#run;
    if (ranks.isFirst) await writeModelText(directory, description, tokenizer);
    await (part ?? { write: native.save.bind(native) }).write({ directory });
    return { sizes: await partSizes(directory, ranks) };
  }

  async #complete({ state, folder }: Pending, outcomes: readonly Outcome[]): Promise<void> {
    const failed = outcomes.findIndex((outcome) => 'code' in outcome);
    if (failed >= 0) {
      await folder?.discard();
      const { code, message } = outcomes[failed] as { code: CotsErrorCode; message: string };
      throw new CotsError(code, this.#run.ranks.world === 1 ? message : `Rank ${failed}: ${message}`);
    }

    const sizes = Object.assign({}, ...outcomes.map((outcome) => (outcome as { sizes: FileSizes }).sizes));
    if (folder !== undefined) await completeCheckpoint(folder, state, sizes);
  }
}
