/** What the captions of a data set are like: how many an entry, twice the same, too long for the text tower. */
import type { ManifestEntry } from '../manifest.js';
import type { CaptionRules } from '../text/captions.js';
import { cleanCaption } from '../text/clean.js';
import type { TextTokenizer } from '../text/tokenizer.js';

export interface CaptionFacts {
  readonly captions: number;
  /** Entries by their number of captions. */
  readonly anEntry: Readonly<Record<string, number>>;
  /** Captions without a letter or digit. */
  readonly blank: number;
  /** Captions with a control character: kept as they are, never printed raw. */
  readonly withControlCharacters: number;
  readonly duplicates: {
    /** Different texts that stand more than once, and the captions beyond the first of each. */
    readonly texts: number;
    readonly captions: number;
    readonly examples: readonly { readonly caption: string; readonly count: number }[];
  };
  readonly tokens: {
    readonly limit: number;
    readonly mean: number;
    readonly longest: number;
    /** Captions longer than the limit of tokens, or of words before it. */
    readonly cut: number;
    readonly cutExamples: readonly {
      readonly id: string;
      readonly tokens: number;
      readonly caption: string;
    }[];
    /** Captions by tokens, `[CLS]` and `[SEP]` included. */
    readonly histogram: Readonly<Record<string, number>>;
  };
}

/** Examples listed of each finding. */
export const mostExamples = 50;

/** Goes through all captions; `rules` are those of training. */
export function captionFacts(
  entries: readonly ManifestEntry[],
  tokenizer: TextTokenizer,
  rules: CaptionRules,
): CaptionFacts {
  const counts = new Map<string, number>();
  const anEntry: Record<string, number> = {};
  const histogram: Record<string, number> = {};
  const cutExamples: CaptionFacts['tokens']['cutExamples'][number][] = [];
  let [captions, blank, withControlCharacters, cut, longest, sum] = [0, 0, 0, 0, 0, 0];
  for (const { id, captions: texts } of entries) {
    anEntry[texts.length] = (anEntry[texts.length] ?? 0) + 1;
    for (const caption of texts) {
      captions++;
      counts.set(caption, (counts.get(caption) ?? 0) + 1);
      if (!/[\p{L}\p{N}]/u.test(caption)) blank++;
      if (/\p{Cc}/u.test(caption)) withControlCharacters++;
      const cleaned = cleanCaption(caption, rules.clean, 0);
      const tokens = tokenizer.encode(cleaned, 65_536).length;
      const words = cleaned.split(' ').length;
      histogram[tokens] = (histogram[tokens] ?? 0) + 1;
      sum += tokens;
      longest = Math.max(longest, tokens);
      if (tokens <= rules.maxLength && (rules.maxWords === 0 || words <= rules.maxWords)) continue;
      cut++;
      if (cutExamples.length < mostExamples) cutExamples.push({ id, tokens, caption });
    }
  }

  const repeated = [...counts].filter(([, count]) => count > 1).sort((a, b) => b[1] - a[1]);
  return {
    captions,
    anEntry,
    blank,
    withControlCharacters,
    duplicates: {
      texts: repeated.length,
      captions: repeated.reduce((total, [, count]) => total + count - 1, 0),
      examples: repeated.slice(0, mostExamples).map(([caption, count]) => ({ caption, count })),
    },
    tokens: {
      limit: rules.maxLength,
      mean: captions === 0 ? 0 : sum / captions,
      longest,
      cut,
      cutExamples,
      histogram,
    },
  };
}
