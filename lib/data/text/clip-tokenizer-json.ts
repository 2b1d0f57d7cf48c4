/** The object of a `tokenizer.json` for CLIP's byte pairs, as transformers makes it of `vocab.json` and `merges.txt`. */
import { CotsError } from '../../errors.js';

const begin = '<|startoftext|>';
const end = '<|endoftext|>';

/** CLIP's special words, under the names of BERT's. It masks no words. */
export const clipWords = { pad: end, unk: end, cls: begin, sep: end, mask: null } as const;

/** What the last piece of a word ends with. */
const endOfWord = '</w>';

// OpenAI's pattern: the special words, English endings, letters, single digits, all else.
const words =
  "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

/** Throws `ERR_COTS_TOKENIZER` for a vocabulary without CLIP's special words or with ids that are no whole numbers. */
export function clipTokenizerJson(
  vocabulary: Record<string, unknown>,
  merges: string,
  where: string,
): object {
  const id = (word: string): number => {
    const found = vocabulary[word];
    if (Number.isInteger(found)) return found as number;
    throw new CotsError(
      'ERR_COTS_TOKENIZER',
      `Expected ${where} to give the id of ${word}, got ${JSON.stringify(found)}. Use the vocab.json of a CLIP.`,
    );
  };
  const special = (content: string) => ({
    id: id(content),
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [special(begin), special(end)].sort((a, b) => a.id - b.id),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: words }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: {
      type: 'RobertaProcessing',
      sep: [end, id(end)],
      cls: [begin, id(begin)],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: end,
      continuing_subword_prefix: '',
      end_of_word_suffix: endOfWord,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: vocabulary,
      merges: mergesOf(merges, where),
    },
  };
}

/** One pair a line; a first line that begins with `#` is a comment. */
function mergesOf(text: string, where: string): string[] {
  const lines = text.split(/\r?\n/).filter((line) => line !== '');
  const kept = lines[0]?.startsWith('#version') ? lines.slice(1) : lines;
  const wrong = kept.find((line) => line.split(' ').length !== 2);
  if (wrong === undefined) return kept;
  throw new CotsError(
    'ERR_COTS_TOKENIZER',
    `Expected merges.txt beside ${where} to have two pieces a line, got ${JSON.stringify(wrong.slice(0, 60))}. Restore it from its source.`,
  );
}
