/** Whether a long run holds its memory. */

/** Memory may grow by this much from the second fifth of a run to the last. */
const flatBytes = 64 * 2 ** 20;

/** Adds to `problems` where resident memory, read at even distances of a run, has grown by more. */
export function checkFlat(memory: readonly { readonly rssBytes: number }[], problems: string[]): void {
  const most = (from: number, to: number): number =>
    Math.max(
      ...memory
        .slice(Math.floor(from * memory.length), Math.ceil(to * memory.length))
        .map(({ rssBytes }) => rssBytes),
    );
  const grown = most(0.8, 1) - most(0.2, 0.4);
  if (grown > flatBytes) problems.push(`memory grew by ${(grown / 2 ** 20).toFixed(0)} MiB`);
}
