/** The captions: what a scene shows, how many, where, and on what color, in varying words. */
import type { Noun } from './nouns.js';
import type { SceneOptions } from './options.js';
import type { Random } from './random.js';
import { backgroundColors, type Layout, type Scene } from './scene.js';

const numbers = ['no', 'one', 'two', 'three'];

/** `a dog`, `a dog and a cat`, `two dogs and a cat`: equal nouns are counted. */
function listed(nouns: readonly Noun[]): string {
  const counts = new Map<Noun, number>();
  for (const noun of nouns) counts.set(noun, (counts.get(noun) ?? 0) + 1);
  const parts = [...counts].map(([noun, count]) =>
    count === 1 ? noun.one : `${numbers[count]} ${noun.many}`,
  );
  if (parts.length < 3) return parts.join(' and ');
  return `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`;
}

const placesOfOne: Readonly<Partial<Record<Layout, readonly string[]>>> = {
  center: ['in the middle', 'in the center'],
  left: ['on the left', 'at the left'],
  right: ['on the right', 'at the right'],
  top: ['at the top', 'near the top'],
  bottom: ['at the bottom', 'near the bottom'],
};

const placesOfTwo: Readonly<Partial<Record<Layout, readonly string[]>>> = {
  beside: [
    'FIRST to the left of SECOND',
    'SECOND to the right of FIRST',
    'FIRST on the left and SECOND on the right',
  ],
  stacked: [
    'FIRST above SECOND',
    'SECOND below FIRST',
    'SECOND under FIRST',
    'FIRST at the top and SECOND at the bottom',
  ],
};

const placesOfTwins: Readonly<Partial<Record<Layout, readonly string[]>>> = {
  beside: ['side by side', 'next to each other'],
  stacked: ['one above the other', 'on top of each other'],
};

/** FIRST is the upper row, SECOND the lower one. */
const placesOfRows = ['FIRST above SECOND', 'SECOND below FIRST', 'SECOND under FIRST'];

function placed(pattern: string, first: string, second: string): string {
  return pattern.replace('FIRST', () => first).replace('SECOND', () => second);
}

/** What and where: `a dog to the left of a cat`. */
function withPlaces(scene: Scene, random: Random): string {
  const nouns = scene.concepts.map((concept) => concept.noun);
  const [first, second, third] = nouns as [Noun, Noun, Noun];
  if (nouns.length === 1) return `${first.one} ${random.pick(placesOfOne[scene.layout] ?? [])}`;
  if (nouns.length === 2) {
    if (first === second) return `${listed(nouns)} ${random.pick(placesOfTwins[scene.layout] ?? [])}`;
    return placed(random.pick(placesOfTwo[scene.layout] ?? []), first.one, second.one);
  }
  const rows = scene.layout === 'pyramid' ? [[first], [second, third]] : [[first, second], [third]];
  const [upper, lower] = rows.map(listed) as [string, string];
  return placed(random.pick(placesOfRows), upper, lower);
}

/** What, without places: `a cat and a dog`, in any order. */
function withoutPlaces(scene: Scene, random: Random): string {
  const nouns = random.shuffle(scene.concepts.map((concept) => concept.noun));
  const list = listed(nouns);
  if (nouns.length === 1 || new Set(nouns).size < nouns.length) return list;
  if (nouns.length === 2 && random.chance(0.3)) return `${nouns[0]?.one} next to ${nouns[1]?.one}`;
  return random.chance(0.2) ? `${numbers[nouns.length]} things: ${list}` : list;
}

const framesWithColor = [
  'WHAT on a COLOR background',
  'WHAT on COLOR',
  'WHAT, COLOR background',
  'WHAT against a COLOR background',
  'on a COLOR background, WHAT',
  'a COLOR picture of WHAT',
  'a picture of WHAT on COLOR',
];
const framesWithoutColor = ['WHAT', 'a picture of WHAT', 'a drawing of WHAT', 'an image with WHAT'];

function fillFrame(frame: string, what: string, color: string): string {
  const filled = frame.replace('COLOR', () => color).replace('WHAT', () => what);
  return filled.replace(/\ba (?=orange (?:background|picture))/, 'an ');
}

/** How the captions of a split are made: how many, and the shares of those that say where, on what color, and tags. */
export interface CaptionStyle {
  readonly count: number;
  readonly position: number;
  readonly color: number;
  readonly tagged: number;
}

/** The style of training captions, or of those of the other splits. */
export function captionStyle(split: string, options: SceneOptions): CaptionStyle {
  const { trainCaptions, testCaptions, position, color, testPosition, testColor, tagged } = options;
  if (split === 'train') return { count: trainCaptions, position, color, tagged };
  return { count: testCaptions, position: testPosition, color: testColor, tagged: 0 };
}

function caption(scene: Scene, style: CaptionStyle, random: Random): string {
  const what = random.chance(style.position) ? withPlaces(scene, random) : withoutPlaces(scene, random);
  const color = backgroundColors[scene.background]?.name ?? '';
  const frames = random.chance(style.color) ? framesWithColor : framesWithoutColor;
  const text = fillFrame(random.pick(frames), what, color);
  return scene.concepts.length === 1 && random.chance(style.tagged) ? text + tagsOf(scene, random) : text;
}

/** At most two further words for the first concept, to be appended as alternative texts do: `, berry, fruit`. */
function tagsOf(scene: Scene, random: Random): string {
  const tags = random.shuffle(scene.concepts[0]?.tags ?? []).slice(0, 2);
  return tags.map((tag) => `, ${tag}`).join('');
}

/** Draws in which the shares of a style hold; where its wordings do not suffice, later captions say both by half. */
const patience = 100;

/** Different captions of a scene, `style.count` of them (at most 8, see options). Each names all of its concepts. */
export function captionsOf(scene: Scene, style: CaptionStyle, random: Random): string[] {
  const captions = new Set<string>();
  for (let draws = 0; captions.size < style.count; draws++) {
    const now = draws < patience ? style : { ...style, position: 0.5, color: 0.5 };
    captions.add(caption(scene, now, random));
  }
  return [...captions];
}
