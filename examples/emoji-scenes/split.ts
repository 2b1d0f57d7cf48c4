/** Which scene belongs to which split, and the plan of a whole data set before anything is drawn. */
import { OptionError } from '../../lib/errors.js';
import { unseenArtist } from './artists.js';
import { captionStyle, captionsOf } from './caption.js';
import type { Concept } from './concepts.js';
import type { SceneOptions } from './options.js';
import { hashText, Random } from './random.js';
import { contentKey, type Scene, sampleNumber, sampleScene, sceneKey } from './scene.js';

/** The splits of images. `unseen` has the scenes of `test`, drawn by the unseen artist. */
export type Split = 'train' | 'validation' | 'test' | 'unseen';

/** An image to be: its scene and its captions. */
export interface PlannedImage {
  /** Such as `train-000042`. */
  readonly id: string;
  readonly split: Split;
  readonly scene: Scene;
  readonly captions: readonly string[];
  /** Whether the captions belong to another image. */
  readonly mismatched: boolean;
}

/** Parts of all possible scenes that are kept out of training. */
const heldOut = { test: 0.25, validation: 0.05 };

/** The split to which a scene belongs, whoever draws it: a hash of its identity decides, so no scene is in two splits. */
export function splitOf(scene: Scene, seed: number): 'train' | 'validation' | 'test' {
  const part = hashText(sceneKey(scene), hashText(`split/${seed}`, 3)) / 2 ** 32;
  if (part < heldOut.test) return 'test';
  return part < heldOut.test + heldOut.validation ? 'validation' : 'train';
}

/** Redraws of one scene before the plan gives up: with the default shares about 4 are needed. */
const mostRedraws = 100_000;

/** Draws scenes of one split. Outside training no two show the same things, so that a caption can mean one image only. */
function* scenesOf(
  split: 'train' | 'validation' | 'test',
  count: number,
  concepts: readonly Concept[],
  options: SceneOptions,
): Generator<Scene> {
  const shown = new Set<string>();
  for (let i = 0; i < count; i++) {
    const random = new Random(options.seed, split, i);
    const number = sampleNumber(options, random);
    let scene = sampleScene(number, concepts, options, random);
    for (let redraws = 0; splitOf(scene, options.seed) !== split || shown.has(contentKey(scene)); redraws++) {
      if (redraws === mostRedraws) throw tooMany(split, count);
      scene = sampleScene(number, concepts, options, random);
    }
    if (split !== 'train') shown.add(contentKey(scene));
    yield scene;
  }
}

function tooMany(split: string, count: number): OptionError {
  return new OptionError(
    `Expected \`${split}\` to leave each image its own emoji, got ${count}. Ask for fewer, or for more scenes of two and three emoji.`,
  );
}

function planSplit(
  split: 'train' | 'validation' | 'test',
  count: number,
  concepts: readonly Concept[],
  options: SceneOptions,
): PlannedImage[] {
  const style = captionStyle(split, options);
  return [...scenesOf(split, count, concepts, options)].map((scene, i) => {
    const captions = captionsOf(scene, style, new Random(options.seed, `${split}/captions`, i));
    return { id: idOf(split, i), split, scene, captions, mismatched: false };
  });
}

function idOf(split: Split, index: number): string {
  return `${split}-${String(index).padStart(6, '0')}`;
}

/**
 * Swaps captions between `share` of the images (rounded to whole images), which are then marked `mismatched`.
 * No image keeps a caption of its own, nor gets one of an image that shows one of its concepts: a mismatch is one.
 */
export function swapCaptions(images: readonly PlannedImage[], share: number, seed: number): PlannedImage[] {
  const random = new Random(seed, 'mismatched', 0);
  const chosen = random.shuffle([...images.keys()]).slice(0, Math.round(share * images.length));
  const donors = rotateApart(chosen, (a, b) =>
    sharesConcept(images[a] as PlannedImage, images[b] as PlannedImage),
  );
  const result = [...images];
  for (const [place, index] of chosen.entries()) {
    const donor = images[donors[place] as number] as PlannedImage;
    result[index] = { ...(images[index] as PlannedImage), captions: donor.captions, mismatched: true };
  }
  return result;
}

function sharesConcept(a: PlannedImage, b: PlannedImage): boolean {
  return a.scene.concepts.some((concept) => b.scene.concepts.includes(concept));
}

/** A rotation of `items` in which no item meets one that is `near` it: where it does, its donor is exchanged for a later one. */
function rotateApart(items: readonly number[], near: (a: number, b: number) => boolean): number[] {
  const donors = [...items.slice(1), ...items.slice(0, 1)];
  for (const [place, item] of items.entries()) {
    if (!near(item, donors[place] as number)) continue;
    const other = donors.findIndex(
      (donor, i) => !near(item, donor) && !near(items[i] as number, donors[place] as number),
    );
    if (other < 0) {
      throw new OptionError(
        `Expected \`mismatched\` to leave images without a common emoji, got ${items.length} images. Use more.`,
      );
    }
    const held = donors[place] as number;
    donors[place] = donors[other] as number;
    donors[other] = held;
  }
  return donors;
}

/** The images of all splits in the order of the manifest. Nothing here depends on how or when they are drawn. */
export function planImages(concepts: readonly Concept[], options: SceneOptions): PlannedImage[] {
  const train = planSplit('train', options.count, concepts, options);
  const validation = planSplit('validation', options.validation, concepts, options);
  const test = planSplit('test', options.test, concepts, options);
  const unseen = test.map((image, i): PlannedImage => {
    return {
      ...image,
      id: idOf('unseen', i),
      split: 'unseen',
      scene: { ...image.scene, artist: unseenArtist },
    };
  });
  return [...swapCaptions(train, options.mismatched, options.seed), ...validation, ...test, ...unseen];
}
