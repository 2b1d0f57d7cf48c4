/** What happens in a clip: a few scenes in sequence, each with one emoji that moves, and the captions that say so. */
import { type Artist, seenArtists } from './artists.js';
import type { Concept } from './concepts.js';
import type { SceneOptions } from './options.js';
import { Random } from './random.js';
import { backgroundColors, type Slot } from './scene.js';

/** What an emoji does, with the words for it. Positions are slot centers, sides are parts of the frame. */
interface Motion {
  readonly name: string;
  readonly from: readonly [x: number, y: number, side: number];
  readonly to: readonly [x: number, y: number, side: number];
  readonly words: readonly string[];
}

const motions: readonly Motion[] = [
  {
    name: 'right',
    from: [0.25, 0.5, 0.45],
    to: [0.75, 0.5, 0.45],
    words: ['moves from left to right', 'slides to the right'],
  },
  {
    name: 'left',
    from: [0.75, 0.5, 0.45],
    to: [0.25, 0.5, 0.45],
    words: ['moves from right to left', 'slides to the left'],
  },
  { name: 'up', from: [0.5, 0.75, 0.45], to: [0.5, 0.25, 0.45], words: ['moves up', 'rises'] },
  { name: 'down', from: [0.5, 0.25, 0.45], to: [0.5, 0.75, 0.45], words: ['moves down', 'falls'] },
  { name: 'grow', from: [0.5, 0.5, 0.3], to: [0.5, 0.5, 0.9], words: ['grows', 'gets bigger'] },
  { name: 'shrink', from: [0.5, 0.5, 0.9], to: [0.5, 0.5, 0.3], words: ['shrinks', 'gets smaller'] },
  { name: 'still', from: [0.5, 0.5, 0.6], to: [0.5, 0.5, 0.6], words: ['stands still', 'does not move'] },
];

/** One scene of a clip. */
export interface Shot {
  readonly concept: Concept;
  readonly motion: string;
  /** Index into `backgroundColors`. */
  readonly background: number;
}

/** A clip before it is drawn. */
export interface PlannedClip {
  /** Such as `clip-000042`. */
  readonly id: string;
  readonly artist: Artist;
  /** Two or three, one after the other, each `shotSeconds` long. No concept is in two of them. */
  readonly shots: readonly Shot[];
  readonly captions: readonly string[];
}

/** Length of a shot. */
export const shotSeconds = 1.5;

/**
 * Where the emoji of a shot stands at `time` in [0, 1], as a slot of a frame of `size` pixels. Movement is linear.
 * Throws if the motion is unknown.
 */
export function slotInMotion(name: string, time: number, size: number): Slot {
  const motion = motions.find((candidate) => candidate.name === name);
  if (motion === undefined) throw new Error(`There is no motion named ${name}.`);
  const at = (i: 0 | 1 | 2) => (motion.from[i] + (motion.to[i] - motion.from[i]) * time) * size;
  const side = Math.round(at(2));
  return { x: Math.round(at(0) - side / 2), y: Math.round(at(1) - side / 2), side };
}

function clause(shot: Shot, color: number, random: Random): string {
  const motion = motions.find((candidate) => candidate.name === shot.motion) as Motion;
  // A plural name would need another verb form: it is spoken of as one drawing.
  const subject = /^(?:an?|the) /.test(shot.concept.noun.one)
    ? shot.concept.noun.one
    : `a drawing of ${shot.concept.noun.one}`;
  const background = random.chance(color) ? ` on ${backgroundColors[shot.background]?.name}` : '';
  return `${subject} ${random.pick(motion.words)}${background}`;
}

function caption(shots: readonly Shot[], color: number, random: Random): string {
  const clauses = shots.map((shot) => clause(shot, color, random));
  const link = random.pick([', then ', ' and then ', ', after that ']);
  return (random.chance(0.3) ? 'first ' : '') + clauses.join(link);
}

/** The clips of a data set: a pure function of seed and options. */
export function planClips(concepts: readonly Concept[], options: SceneOptions): PlannedClip[] {
  return Array.from({ length: options.clips }, (_, i) => {
    const random = new Random(options.seed, 'clips', i);
    const things = new Set<Concept>();
    const number = 2 + random.integer(2);
    while (things.size < number) things.add(random.pick(concepts));
    const shots = [...things].map((concept): Shot => {
      return { concept, motion: random.pick(motions).name, background: random.integer(options.backgrounds) };
    });
    const captions = new Set<string>();
    while (captions.size < options.testCaptions) captions.add(caption(shots, options.testColor, random));
    return {
      id: `clip-${String(i).padStart(6, '0')}`,
      artist: random.pick(seenArtists),
      shots,
      captions: [...captions],
    };
  });
}
