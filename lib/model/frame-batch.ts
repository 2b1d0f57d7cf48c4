/** Frames of several clips in full forward batches. */

/** Who gets the rows of some frames, in their order. */
export interface RowOwner {
  /** A unit row [D]. */
  add(row: Float32Array): void;
}

export interface BatchModel {
  readonly dimension: number;
  /** Unit rows [count, D] of uint8 [count, size, size, 3]. */
  embedPixels(pixels: Uint8Array, count: number): Promise<Float32Array>;
}

/** Fills one batch of frames while the one before is embedded. */
export class FrameBatch {
  readonly #model: BatchModel;
  readonly #size: number;
  #views: Uint8Array[] = [];
  #owners: RowOwner[] = [];
  #running: Promise<void> = Promise.resolve();

  constructor(model: BatchModel, size: number) {
    this.#model = model;
    this.#size = size;
  }

  /** A view, uint8 [size, size, 3], and who gets its row. Throws what an earlier batch failed with. */
  async add(view: Uint8Array, owner: RowOwner): Promise<void> {
    this.#views.push(view);
    this.#owners.push(owner);
    if (this.#views.length === this.#size) await this.#start();
  }

  /** Embeds what is left and waits for all. */
  async flush(): Promise<void> {
    if (this.#views.length > 0) await this.#start();
    await this.#running;
  }

  /** Waits for the batch before, so that two are in memory at most. */
  async #start(): Promise<void> {
    const [views, owners] = [this.#views, this.#owners];
    [this.#views, this.#owners] = [[], []];
    await this.#running;
    this.#running = this.#embed(views, owners);
    this.#running.catch(() => {}); // told by the next wait
  }

  async #embed(views: readonly Uint8Array[], owners: readonly RowOwner[]): Promise<void> {
    const bytes = (views[0] as Uint8Array).length;
    const pixels = new Uint8Array(bytes * views.length);
    for (const [index, view] of views.entries()) pixels.set(view, index * bytes);
    const rows = await this.#model.embedPixels(pixels, views.length);
    const { dimension } = this.#model;
    for (const [index, owner] of owners.entries())
      owner.add(rows.slice(index * dimension, (index + 1) * dimension));
  }
}
