/** The emoji sets: which there are, and their drawings as pixels. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import sharp from 'sharp';

/** Who drew a scene. Licences: THIRD_PARTY_NOTICES.md. */
export type Artist = 'twemoji' | 'openmoji' | 'fluent-emoji-flat' | 'noto';

/** The artists of training, validation and test. */
export const seenArtists: readonly Artist[] = ['twemoji', 'openmoji', 'fluent-emoji-flat'];
/** The artist of the split `unseen`, never trained on. */
export const unseenArtist: Artist = 'noto';
export const allArtists: readonly Artist[] = [...seenArtists, unseenArtist];

/** The npm package of an artist's drawings. */
export function packageOf(artist: Artist): string {
  return `@iconify-json/${artist}`;
}

/** A drawing, trimmed to what is visible: RGBA bytes, row-major, color premultiplied by alpha. */
export interface Sprite {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

interface Icon {
  readonly body: string;
  readonly left?: number;
  readonly top?: number;
  readonly width?: number;
  readonly height?: number;
}

interface IconSet {
  readonly icons: Readonly<Record<string, Icon>>;
  readonly aliases?: Readonly<Record<string, { readonly parent: string }>>;
  readonly width?: number;
  readonly height?: number;
}

const require = createRequire(import.meta.url);

function svgOf(set: IconSet, slug: string, pixels: number): string {
  const icon = set.icons[slug] ?? set.icons[set.aliases?.[slug]?.parent ?? ''];
  if (icon === undefined) throw new Error(`The icon set has no drawing named ${slug}.`);
  const box = [icon.left ?? 0, icon.top ?? 0, icon.width ?? set.width ?? 16, icon.height ?? set.height ?? 16];
  const names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"';
  return `<svg ${names} viewBox="${box.join(' ')}" width="${pixels}" height="${pixels}">${icon.body}</svg>`;
}

/** Alpha below this is the haze of anti-aliasing and does not widen a box. */
const visibleAlpha = 16;

/** Cuts a square RGBA image to its visible box and premultiplies it. */
function trim(rgba: Uint8Array, side: number): Sprite {
  let [left, top, right, bottom] = [side, side, -1, -1];
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      if ((rgba[(y * side + x) * 4 + 3] as number) < visibleAlpha) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  if (right < left) throw new Error('The drawing is empty.');
  const [width, height] = [right - left + 1, bottom - top + 1];
  const data = new Uint8Array(width * height * 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = ((y + top) * side + x + left) * 4;
      const to = (y * width + x) * 4;
      const alpha = rgba[from + 3] as number;
      for (let c = 0; c < 3; c++) data[to + c] = Math.round(((rgba[from + c] as number) * alpha) / 255);
      data[to + 3] = alpha;
    }
  }
  return { width, height, data };
}

/** Drawings are kept up to this many bytes; at 48-pixel scenes all of them fit. */
const defaultBudget = 256 * 2 ** 20;

/** Draws emoji at one resolution and keeps what it drew, oldest out first. Icon sets are read on first use. */
export class SpriteCache {
  private readonly sets = new Map<Artist, Promise<IconSet>>();
  private readonly sprites = new Map<string, Promise<Sprite>>();
  private bytes = 0;
  private readonly pixels: number;
  private readonly budget: number;

  /**
   * @param pixels side of the square in which an emoji is drawn before it is trimmed
   * @param budget bytes of drawings to keep
   */
  constructor(pixels: number, budget: number = defaultBudget) {
    this.pixels = pixels;
    this.budget = budget;
  }

  /** The drawing of the concept `slug` by `artist`. Throws if that set does not draw it. */
  get(artist: Artist, slug: string): Promise<Sprite> {
    const key = `${artist}/${slug}`;
    let sprite = this.sprites.get(key);
    if (sprite === undefined) {
      sprite = this.draw(artist, slug);
      this.evict();
      this.sprites.set(key, sprite);
      this.bytes += this.pixels * this.pixels * 4;
    }
    return sprite;
  }

  private evict(): void {
    const oldest = this.sprites.keys().next();
    if (oldest.done || this.bytes < this.budget) return;
    this.sprites.delete(oldest.value);
    this.bytes -= this.pixels * this.pixels * 4;
  }

  private async draw(artist: Artist, slug: string): Promise<Sprite> {
    const svg = svgOf(await this.set(artist), slug, this.pixels);
    const rgba = await sharp(Buffer.from(svg)).ensureAlpha().raw().toBuffer();
    return trim(rgba, this.pixels);
  }

  private set(artist: Artist): Promise<IconSet> {
    let set = this.sets.get(artist);
    if (set === undefined) {
      const file = require.resolve(`${packageOf(artist)}/icons.json`);
      set = readFile(file, 'utf8').then((text) => JSON.parse(text) as IconSet);
      this.sets.set(artist, set);
    }
    return set;
  }
}
