/** Widths and heights of the images of a data set. */

interface Spread {
  readonly least: number;
  readonly median: number;
  readonly most: number;
}

export interface SizeFacts {
  /** Pixels. */
  readonly width: Spread;
  readonly height: Spread;
  /** Images by their shorter side, in steps that double: `256` are those of 256 to 511 pixels. */
  readonly shorterSide: Readonly<Record<string, number>>;
}

/** Counts sizes; memory grows with the number of different ones alone. */
export class ImageSizes {
  readonly #widths = new Map<number, number>();
  readonly #heights = new Map<number, number>();
  readonly #shorter = new Map<number, number>();

  add(width: number, height: number): void {
    const step = 2 ** Math.floor(Math.log2(Math.min(width, height)));
    for (const [counts, value] of [
      [this.#widths, width],
      [this.#heights, height],
      [this.#shorter, step],
    ] as const)
      counts.set(value, (counts.get(value) ?? 0) + 1);
  }

  /** Null without images. */
  facts(): SizeFacts | null {
    if (this.#widths.size === 0) return null;
    return {
      width: spread(this.#widths),
      height: spread(this.#heights),
      shorterSide: Object.fromEntries(this.#shorter),
    };
  }
}

function spread(counts: ReadonlyMap<number, number>): Spread {
  const sorted = [...counts].sort(([a], [b]) => a - b);
  const total = sorted.reduce((sum, [, count]) => sum + count, 0);
  let seen = 0;
  const [median] = sorted.find(([, count]) => {
    seen += count;
    return 2 * seen >= total;
  }) as [number, number];
  return { least: sorted[0]?.[0] as number, median, most: sorted.at(-1)?.[0] as number };
}
