/** Keys of the data: sources, augmentation, loading, captions (SPEC 2.5). */
import { z } from 'zod';
import { choice, flag, integer, interval, number, optionalPath, section } from './key.js';
import { imageNormKeys } from './model-keys.js';

/** One data set of a list. */
export interface DataSource {
  /** Manifest (`.jsonl`), annotation file, WebDataset shards, or folder of images with captions; several joined by `::`. */
  path: string;
  /** Times an item is drawn an epoch, on average. */
  weight: number;
  /** Split to take; null: `train`, or `val` for validation. */
  split: string | null;
  /** Folder that image paths are relative to; null: the one of `path`. */
  images: string | null;
  /** Names of a table's columns, or of the endings and `.json` fields of shards; null: the usual ones. */
  columns: SourceColumns | null;
}

/** What a user names in a table or in shards. */
export interface SourceColumns {
  image?: string | undefined;
  video?: string | undefined;
  caption?: string | undefined;
  id?: string | undefined;
  split?: string | undefined;
}

const sourceRule = 'null, a path, or a list of { path, weight?, split?, images?, columns? }';
const columnName = z.string().min(1).optional();
const source = z.strictObject({
  path: z.string().min(1),
  weight: z.number().gt(0).max(1e6).default(1),
  split: z.string().min(1).nullable().default(null),
  images: z.string().min(1).nullable().default(null),
  columns: z
    .strictObject({
      image: columnName,
      video: columnName,
      caption: columnName,
      id: columnName,
      split: columnName,
    })
    .nullable()
    .default(null),
});

function sources(description: string) {
  return z
    .union([z.null(), z.string().min(1), z.array(z.union([z.string().min(1), source]))])
    .default(null)
    .transform((value): DataSource[] => {
      const list = typeof value === 'string' ? [value] : (value ?? []);
      return list.map((item) =>
        typeof item === 'string' ? { path: item, weight: 1, split: null, images: null, columns: null } : item,
      );
    })
    .meta({ description, rule: sourceRule, text: true });
}

const jitterRange = { max: 1 };

export const dataKeys = section({
  train: sources('Training pairs: one manifest, or a list with weights.'),
  validation: sources('Pairs that `evaluate` scores during training.'),
  workers: integer(4, 'Images decoded at the same time.', { min: 1, max: 1024 }),
  maxBadFraction: number(0.05, 'Share of images that may fail to decode before the run stops.', { max: 1 }),
  textMaxLen: integer(40, 'Tokens of a caption, [CLS] and [SEP] included; the rest is cut.', {
    min: 3,
    max: 65536,
  }),
  textClean: z
    .union([
      z.enum(['albef', 'none']),
      z.boolean().transform((on): 'albef' | 'none' => (on ? 'albef' : 'none')),
    ])
    .default('albef')
    .meta({
      description: "Cleaning of captions: ALBEF's `pre_caption`, or none. It changes scores.",
      rule: 'one of albef, none',
    }),
  textMaxWords: integer(30, 'Words that `albef` cleaning keeps; 0: all.'),
  vocabulary: optionalPath(
    '`tokenizer.json` or `vocab.txt` of the words; null: made from the captions of `data.train`.',
  ),
  aug: section({
    crop: section({
      scale: interval([0.2, 1], "Share of the image's area that a random crop covers."),
      ratio: interval([3 / 4, 4 / 3], 'Width over height of a random crop.'),
    }),
    flip: number(0.5, 'Probability of a horizontal flip; 0 where captions speak of left and right.', {
      max: 1,
    }),
    jitter: section({
      brightness: number(0.4, 'Largest change of brightness.', jitterRange),
      contrast: number(0.4, 'Largest change of contrast.', jitterRange),
      saturation: number(0.4, 'Largest change of saturation.', jitterRange),
    }),
  }),
  filter: choice(
    ['bicubic', 'bilinear', 'lanczos'],
    'bicubic',
    'Resampling of the view that the vision Transformer takes.',
  ),
  secondView: section({
    filter: choice(
      ['lanczos', 'bicubic', 'bilinear'],
      'lanczos',
      'Resampling of the view that the image tokenizer takes.',
    ),
    jitter: flag(true, 'The image tokenizer sees the color jitter too.'),
  }),
  imageNorm: imageNormKeys,
  exifRotate: flag(true, 'Turn an image as its EXIF orientation says.'),
  prefetch: integer(3, 'Batches made ahead of the step in progress.', { min: 1, max: 1024 }),
  prefetchBytes: integer(
    512 * 2 ** 20,
    'Bytes that batches made ahead and images being decoded may take together.',
    { min: 2 ** 20 },
  ),
  cacheBytes: integer(
    512 * 2 ** 20,
    'Bytes of decoded pixels kept, so that later epochs do not decode again; 0: none.',
  ),
  cacheImageBytes: integer(2 ** 18, 'Images of more decoded bytes than this are not kept.'),
});
