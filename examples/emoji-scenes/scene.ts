/** What a scene is, and how one is drawn by lot. */
import { type Artist, seenArtists } from './artists.js';
import type { Concept } from './concepts.js';
import type { SceneOptions } from './options.js';
import type { Random } from './random.js';

/** Background colors: name in captions and RGB, lighter than the emoji's own palettes. The first `options.backgrounds` are used. */
export const backgroundColors: readonly {
  readonly name: string;
  readonly rgb: readonly [number, number, number];
}[] = [
  { name: 'white', rgb: [250, 250, 250] },
  { name: 'blue', rgb: [110, 160, 245] },
  { name: 'green', rgb: [140, 215, 150] },
  { name: 'yellow', rgb: [253, 240, 160] },
  { name: 'red', rgb: [235, 105, 95] },
  { name: 'purple', rgb: [180, 140, 225] },
  { name: 'orange', rgb: [250, 180, 100] },
  { name: 'gray', rgb: [165, 165, 165] },
  { name: 'pink', rgb: [250, 180, 205] },
  { name: 'brown', rgb: [150, 105, 70] },
  { name: 'turquoise', rgb: [90, 205, 200] },
  { name: 'black', rgb: [35, 35, 35] },
];

/** Where the emoji of a scene stand. The order of `concepts` follows the layout: left to right, top to bottom. */
export type Layout =
  | 'center'
  | 'left'
  | 'right'
  | 'top'
  | 'bottom' // one emoji
  | 'beside'
  | 'stacked' // two
  | 'pyramid'
  | 'funnel'; // three: one above two, two above one

/** A square of the frame, in pixels. */
export interface Slot {
  readonly x: number;
  readonly y: number;
  readonly side: number;
}

/** One scene, before it is drawn. */
export interface Scene {
  readonly artist: Artist;
  /** Index into `backgroundColors`. */
  readonly background: number;
  readonly layout: Layout;
  /** One to three; a concept may stand twice or three times. */
  readonly concepts: readonly Concept[];
  /** A square for each concept, inside the frame; no two overlap. */
  readonly slots: readonly Slot[];
}

/** Alignment in the frame: 0 is left or top, 1 is right or bottom. */
type Alignment = readonly [horizontal: number, vertical: number];

const alignments: Readonly<Record<Layout, readonly Alignment[]>> = {
  center: [[0.5, 0.5]],
  left: [[0, 0.5]],
  right: [[1, 0.5]],
  top: [[0.5, 0]],
  bottom: [[0.5, 1]],
  beside: [
    [0, 0.5],
    [1, 0.5],
  ],
  stacked: [
    [0.5, 0],
    [0.5, 1],
  ],
  pyramid: [
    [0.5, 0],
    [0, 1],
    [1, 1],
  ],
  funnel: [
    [0, 0],
    [1, 0],
    [0.5, 1],
  ],
};

const sides: readonly Layout[] = ['left', 'right', 'top', 'bottom'];

function drawLayout(number: number, centered: number, random: Random): Layout {
  if (number === 1) return random.chance(centered) ? 'center' : random.pick(sides);
  return random.pick<Layout>(number === 2 ? ['beside', 'stacked'] : ['pyramid', 'funnel']);
}

/** Free border, as a part of the frame. */
const border = 0.02;

function slotAt(alignment: Alignment, side: number, { size, jitter }: SceneOptions, random: Random): Slot {
  const margin = Math.floor(border * size);
  const free = size - 2 * margin - side;
  const place = (part: number) => {
    const moved = part === 0.5 ? part + random.between(-jitter, jitter) : part;
    return Math.max(0, margin + Math.round(moved * free));
  };
  return { x: place(alignment[0]), y: place(alignment[1]), side };
}

function drawConcepts(
  number: number,
  concepts: readonly Concept[],
  repeated: number,
  random: Random,
): Concept[] {
  const drawn = [random.pick(concepts)];
  while (drawn.length < number) {
    const next = random.pick(concepts);
    if (!drawn.includes(next)) drawn.push(next);
  }
  if (number === 1 || !random.chance(repeated)) return drawn;
  // The last one gives way to a copy of the first; of three, all may become equal.
  const first = drawn[0] as Concept;
  return drawn.map((concept, i) => (i === number - 1 || (i > 0 && random.chance(0.3)) ? first : concept));
}

/**
 * How many emoji the next scene has: 1, 2 or 3, by `options.shares`.
 * Drawn apart from the rest, so that redrawing a scene for its split leaves the shares as they are.
 */
export function sampleNumber(options: SceneOptions, random: Random): number {
  return 1 + random.weighted(options.shares);
}

/** Draws a scene of `number` emoji by one of the seen artists: a pure function of the random stream. */
export function sampleScene(
  number: number,
  concepts: readonly Concept[],
  options: SceneOptions,
  random: Random,
): Scene {
  const artist = random.pick(seenArtists);
  const background = random.integer(options.backgrounds);
  const layout = drawLayout(number, options.centered, random);
  const drawn = random.shuffle(drawConcepts(number, concepts, options.repeated, random));
  const [least, greatest] = options.emojiSize[number - 1] as readonly [number, number];
  const side = Math.max(1, Math.floor(random.between(least, greatest) * options.size));
  const slots = alignments[layout].map((alignment) => slotAt(alignment, side, options, random));
  return { artist, background, layout, concepts: drawn, slots };
}

/** The concepts of a scene in one order, whatever their places: equal for scenes that show the same things. */
export function contentKey(scene: Pick<Scene, 'concepts'>): string {
  return scene.concepts
    .map((concept) => concept.id)
    .sort()
    .join('+');
}

/**
 * What makes two scenes the same scene for the splits, whoever draws it.
 * Several emoji: the multiset of concepts, so that no combination of a test scene is ever trained on.
 * One emoji: the concept with its background and place, since every word must occur in training.
 */
export function sceneKey(scene: Pick<Scene, 'concepts' | 'background' | 'layout'>): string {
  const content = contentKey(scene);
  return scene.concepts.length > 1 ? content : `${content}/${scene.background}/${scene.layout}`;
}
