/** Cleaning of captions (SPEC 2.5 `data.textClean`). */

/** Which cleaning: ALBEF's `pre_caption`, or none. */
export type TextCleaning = 'albef' | 'none';

// Python's `\s` on text; JavaScript's differs by U+001C to U+001F, U+0085 and U+FEFF.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what Python counts as white space.
const whiteRuns = /[\p{White_Space}\x1c-\x1f]{2,}/gu;

/**
 * A caption as the text tower's tokenizer takes it. `albef`: lower case; `, . ' ! ? " ( ) * # : ; ~` deleted; `-` and `/` to
 * spaces; `<person>` to person; runs of white space to one space; at most `maxWords` words (0: all).
 */
export function cleanCaption(caption: string, cleaning: TextCleaning, maxWords: number): string {
  if (cleaning === 'none') return caption;
  const plain = caption
    .toLowerCase()
    .replace(/[,.'!?"()*#:;~]/g, '')
    .replaceAll('-', ' ')
    .replaceAll('/', ' ')
    .replaceAll('<person>', 'person');
  const single = plain
    .replace(whiteRuns, ' ')
    .replace(/\n+$/, '')
    .replace(/^ +| +$/g, '');
  const words = single.split(' ');
  return maxWords > 0 && words.length > maxWords ? words.slice(0, maxWords).join(' ') : single;
}
