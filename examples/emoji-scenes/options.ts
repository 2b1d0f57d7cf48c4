/** Every option of the scenes with its default: the only place where a number of the make-up is decided. */
import { finite, integer, options as knownOptions, show } from '../../lib/checks.js';
import { OptionError } from '../../lib/errors.js';

/** What `generateScenes` makes. Shares are probabilities in [0, 1]; sizes are parts of the frame. */
export interface SceneOptions {
  /** Folder to write: `manifest.jsonl`, `images/`, `clips/`. Files of the same names are replaced. */
  readonly out: string;
  /** Training scenes. @default 16000 */
  readonly count: number;
  /** Validation scenes. @default 300 */
  readonly validation: number;
  /** Test scenes; the split `unseen` has the same scenes, drawn by the unseen artist. @default 1000 */
  readonly test: number;
  /** Width and height of an image in pixels, 16 to 1024. @default 48 */
  readonly size: number;
  /** Integer; the same seed and options give the same bytes. @default 0 */
  readonly seed: number;
  /** Share of the training images whose captions belong to another image. Rounded to whole images. @default 0 */
  readonly mismatched: number;
  /** Captions of a training image. @default 2 */
  readonly trainCaptions: number;
  /** Captions of an image of the other splits, and of a clip; all different. @default 5 */
  readonly testCaptions: number;
  /** Weights of scenes with one, two and three emoji. @default [0.5, 0.4, 0.1] */
  readonly shares: readonly [one: number, two: number, three: number];
  /** Share of the scenes of two or three emoji in which one is repeated, so that captions count. @default 0.15 */
  readonly repeated: number;
  /** Range of the longer side of an emoji in scenes of one, two and three. */
  readonly emojiSize: readonly [one: Range, two: Range, three: Range];
  /** How many of the background colors are used, 1 to 12. @default 8 */
  readonly backgrounds: number;
  /** Share of the scenes of one emoji in which it stands in the middle; else at the left, right, top or bottom. @default 0.5 */
  readonly centered: number;
  /** How far an emoji strays from its place along a free direction, as a part of the free space. @default 0.05 */
  readonly jitter: number;
  /** Share of the training captions that say where. Where it is low, the names carry what tells pairs apart. @default 0.3 */
  readonly position: number;
  /** Share of the training captions that say the background color. @default 0.3 */
  readonly color: number;
  /** `position` of the captions of all other splits. @default 0.5 */
  readonly testPosition: number;
  /** `color` of the captions of all other splits and of clips. @default 0.5 */
  readonly testColor: number;
  /** Share of the training captions of one emoji that add its tags, as alternative texts do. @default 0.05 */
  readonly tagged: number;
  /** Clips to make, in the split `clips`. @default 0 */
  readonly clips: number;
  /** Path of ffmpeg, needed for clips. */
  readonly ffmpeg?: string | undefined;
  /** Width and height of a clip in pixels, even. @default 96 */
  readonly clipSize: number;
  /** Frames a second of a clip. @default 12 */
  readonly clipFps: number;
  /** Images in work at once; changes no byte. @default 4 */
  readonly concurrency: number;
  /** Called after each image or clip. */
  readonly onProgress?: ((progress: SceneProgress) => void) | undefined;
  /** Stops between images; `generateScenes` rejects with its reason and leaves no manifest of its own. */
  readonly signal?: AbortSignal | undefined;
}

/** Least and greatest, as parts of the frame. */
export type Range = readonly [least: number, greatest: number];

/** How far a generation is. */
export interface SceneProgress {
  readonly stage: 'images' | 'clips';
  readonly done: number;
  readonly total: number;
}

/** The defaults of all options but `out`. Emoji of one scene cannot touch while pairs and triples stay below 0.47. */
export const sceneDefaults: Omit<SceneOptions, 'out'> = {
  count: 16_000,
  validation: 300,
  test: 1_000,
  size: 48,
  seed: 0,
  mismatched: 0,
  trainCaptions: 2,
  testCaptions: 5,
  shares: [0.5, 0.4, 0.1],
  repeated: 0.15,
  emojiSize: [
    [0.6, 0.85],
    [0.4, 0.47],
    [0.38, 0.46],
  ],
  backgrounds: 8,
  centered: 0.5,
  jitter: 0.05,
  position: 0.3,
  color: 0.3,
  testPosition: 0.5,
  testColor: 0.5,
  tagged: 0.05,
  clips: 0,
  clipSize: 96,
  clipFps: 12,
  concurrency: 4,
};

/** More different captions of one scene are not promised: the wordings of a single emoji are about twenty. */
const mostCaptions = 8;

const wholeNumbers: readonly (readonly [name: keyof SceneOptions, least: number, greatest: number])[] = [
  ['count', 0, 10_000_000],
  ['validation', 0, 100_000],
  ['test', 0, 100_000],
  ['size', 16, 1024],
  ['seed', Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  ['trainCaptions', 1, mostCaptions],
  ['testCaptions', 1, mostCaptions],
  ['backgrounds', 1, 12],
  ['clips', 0, 100_000],
  ['clipSize', 32, 1024],
  ['clipFps', 1, 60],
  ['concurrency', 1, 64],
];
const fractions = [
  'mismatched',
  'repeated',
  'centered',
  'jitter',
  'position',
  'color',
  'testPosition',
  'testColor',
  'tagged',
] as const;
const others = ['out', 'shares', 'emojiSize', 'ffmpeg', 'onProgress', 'signal'] as const;

/** Greatest size of an emoji among one, two and three: pairs and triples must not overlap. */
const greatestSize = [1, 0.47, 0.47];

function refuse(name: string, rule: string, value: unknown, advice = ''): never {
  throw new OptionError(`Expected \`${name}\` to be ${rule}, got ${show(value)}.${advice && ` ${advice}`}`);
}

function checkMakeUp({ shares, emojiSize, mismatched, count }: SceneOptions): void {
  if (shares.length !== 3 || !shares.every((share) => share >= 0) || !shares.some((share) => share > 0)) {
    refuse('shares', 'three weights, not all zero', shares);
  }
  for (const [index, [least, greatest]] of emojiSize.entries()) {
    finite(`emojiSize[${index}][1]`, greatest, 0.05, greatestSize[index]);
    finite(`emojiSize[${index}][0]`, least, 0.05, greatest);
  }
  if (Math.round(mismatched * count) === 1) {
    refuse(
      'mismatched',
      'a share of no or at least 2 images',
      mismatched,
      'Captions are swapped between images.',
    );
  }
}

/**
 * Fills in the defaults and checks every value.
 * Throws OptionError that names the option, its rule and the value; unknown options are refused.
 */
export function resolveSceneOptions(given: Partial<SceneOptions> & { out: string }): SceneOptions {
  knownOptions('generateScenes', given, [...wholeNumbers.map(([name]) => name), ...fractions, ...others]);
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const options: SceneOptions = { ...sceneDefaults, out: given.out, ...set };
  if (typeof options.out !== 'string' || options.out === '')
    refuse('out', 'the folder to write', options.out);
  for (const [name, least, greatest] of wholeNumbers) integer(name, options[name], least, greatest);
  for (const name of fractions) finite(name, options[name], 0, 1);
  checkMakeUp(options);
  if (options.clipSize % 2 !== 0) refuse('clipSize', 'even, as H.264 needs', options.clipSize);
  if (options.clips > 0 && !options.ffmpeg) {
    refuse(
      'ffmpeg',
      'the path of ffmpeg when clips are made',
      options.ffmpeg,
      'Give it, or leave clips at 0.',
    );
  }
  return options;
}
