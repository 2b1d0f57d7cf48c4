/** What ffmpeg's filter `showinfo` says of a frame that passes it. */

export interface ShownFrame {
  /** In ticks; NaN where the frame has none. */
  readonly pts: number;
  readonly seconds: number;
  /** Seconds; 0 where it is not known. */
  readonly duration: number;
  /** Pixels, after rotation. */
  readonly width: number;
  readonly height: number;
}

/** Undefined for a line that is not about a frame. */
export function shownFrame(line: string): ShownFrame | undefined {
  if (!line.startsWith('[Parsed_showinfo')) return undefined;
  const found = /\] n: *\d+ pts: *(\S+) pts_time:(\S+).* s:(\d+)x(\d+) /.exec(line);
  if (found === null) return undefined;
  const [, pts, seconds, width, height] = found;
  const duration = Number(/ duration_time:(\S+)/.exec(line)?.[1]);
  return {
    pts: Number(pts),
    seconds: Number(seconds),
    duration: Number.isFinite(duration) ? duration : 0,
    width: Number(width),
    height: Number(height),
  };
}

/** The frames told so far, to be taken one by one as they come. */
export class ShownFrames {
  readonly #frames: ShownFrame[] = [];
  #isEnded = false;
  #wake: () => void = () => {};

  /** A line of ffmpeg's, about a frame or not. */
  add(line: string): void {
    const frame = shownFrame(line);
    if (frame === undefined) return;
    this.#frames.push(frame);
    this.#wake();
  }

  /** No more lines come. */
  end(): void {
    this.#isEnded = true;
    this.#wake();
  }

  /** The next frame; undefined after the last. */
  async next(): Promise<ShownFrame | undefined> {
    while (this.#frames.length === 0 && !this.#isEnded)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return this.#frames.shift();
  }
}
