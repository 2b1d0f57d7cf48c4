/** Drawing: sprites scaled by area and laid over a background, as plain RGB bytes. */
import type { Sprite, SpriteCache } from './artists.js';
import { backgroundColors, type Scene, type Slot } from './scene.js';

/** A box in pixels: left, top, width, height. */
export type Box = readonly [x: number, y: number, width: number, height: number];

/** An RGB image, row-major, and the tight box of each of its emoji. */
export interface Picture {
  readonly data: Uint8Array;
  readonly boxes: readonly Box[];
}

/** A sprite of this many times the scene's side is always scaled down, never up. */
export const spriteScale = 2;

/** For each of `to` pixels: the first source pixel, and the part that each source pixel has in it. */
function areaWeights(from: number, to: number): { readonly start: number; readonly parts: Float64Array }[] {
  const step = from / to;
  return Array.from({ length: to }, (_, i) => {
    const [low, high] = [i * step, Math.min(from, (i + 1) * step)];
    const start = Math.floor(low);
    const end = Math.min(from, Math.ceil(high));
    const parts = new Float64Array(end - start);
    for (let j = start; j < end; j++) parts[j - start] = (Math.min(high, j + 1) - Math.max(low, j)) / step;
    return { start, parts };
  });
}

/** Average of rows of `length` values along y: `count` rows become `to`. */
function shrinkRows(data: Uint8Array, count: number, length: number, to: number): Float32Array {
  const result = new Float32Array(to * length);
  for (const [row, { start, parts }] of areaWeights(count, to).entries()) {
    const target = row * length;
    for (let j = 0; j < parts.length; j++) {
      const source = (start + j) * length;
      const part = parts[j] as number;
      for (let i = 0; i < length; i++) {
        result[target + i] = (result[target + i] as number) + part * (data[source + i] as number);
      }
    }
  }
  return result;
}

/** Average of RGBA pixels along x: `width` columns become `to`. */
function shrinkColumns(data: Float32Array, width: number, height: number, to: number): Float32Array {
  const result = new Float32Array(to * height * 4);
  for (const [column, { start, parts }] of areaWeights(width, to).entries()) {
    for (let y = 0; y < height; y++) {
      let r = 0;
      let g = 0;
      let b = 0;
      let a = 0;
      let source = (y * width + start) * 4;
      for (let j = 0; j < parts.length; j++, source += 4) {
        const part = parts[j] as number;
        r += part * (data[source] as number);
        g += part * (data[source + 1] as number);
        b += part * (data[source + 2] as number);
        a += part * (data[source + 3] as number);
      }
      const target = (y * to + column) * 4;
      result[target] = r;
      result[target + 1] = g;
      result[target + 2] = b;
      result[target + 3] = a;
    }
  }
  return result;
}

/** Box-filters a premultiplied sprite to `width` x `height`: RGBA, 0 to 255, not rounded. */
function resample(sprite: Sprite, width: number, height: number): Float32Array {
  const rows = shrinkRows(sprite.data, sprite.height, sprite.width * 4, height);
  return shrinkColumns(rows, sprite.width, height, width);
}

/** The box of a sprite that fills a slot by its longer side and stands in its middle. */
function boxIn(slot: Slot, sprite: Sprite): Box {
  const scale = slot.side / Math.max(sprite.width, sprite.height);
  const width = Math.max(1, Math.round(sprite.width * scale));
  const height = Math.max(1, Math.round(sprite.height * scale));
  return [slot.x + ((slot.side - width) >> 1), slot.y + ((slot.side - height) >> 1), width, height];
}

/** Lays a sprite over an RGB image of `size` x `size`; what lies outside is cut. Returns its whole box. */
export function drawSprite(data: Uint8Array, size: number, sprite: Sprite, slot: Slot): Box {
  const box = boxIn(slot, sprite);
  const [left, top, width, height] = box;
  const pixels = resample(sprite, width, height);
  for (let y = Math.max(0, -top); y < Math.min(height, size - top); y++) {
    for (let x = Math.max(0, -left); x < Math.min(width, size - left); x++) {
      const from = (y * width + x) * 4;
      const to = ((y + top) * size + x + left) * 3;
      const behind = 1 - (pixels[from + 3] as number) / 255;
      for (let c = 0; c < 3; c++)
        data[to + c] = Math.round((pixels[from + c] as number) + behind * (data[to + c] as number));
    }
  }
  return box;
}

/** An RGB image of one background color. `background` is an index into `backgroundColors`. */
export function plainImage(size: number, background: number): Uint8Array {
  const rgb = backgroundColors[background]?.rgb ?? [255, 255, 255];
  const data = new Uint8Array(size * size * 3);
  for (let i = 0; i < data.length; i++) data[i] = rgb[i % 3] as number;
  return data;
}

/** Draws a scene at `size` x `size` pixels. */
export async function renderScene(scene: Scene, size: number, sprites: SpriteCache): Promise<Picture> {
  const drawings = await Promise.all(scene.concepts.map((concept) => sprites.get(scene.artist, concept.id)));
  const data = plainImage(size, scene.background);
  const boxes = drawings.map((sprite, i) => drawSprite(data, size, sprite, scene.slots[i] as Slot));
  return { data, boxes };
}
