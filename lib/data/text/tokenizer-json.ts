/** The object of a `tokenizer.json` for a BERT vocabulary, as transformers writes it. */
import { CotsError } from '../../errors.js';

/** BERT's special words. */
export const specialWords = {
  pad: '[PAD]',
  unk: '[UNK]',
  cls: '[CLS]',
  sep: '[SEP]',
  mask: '[MASK]',
} as const;

/** What a piece that continues a word begins with. */
export const continuation = '##';

/** Letters of the longest word that is looked up; a longer one is [UNK] (BERT). */
export const maxWordLetters = 100;

/** How BERT's normalizer treats a text before it is cut. */
export interface BertRules {
  readonly lowercase: boolean;
  /** null: where it lower-cases. */
  readonly stripAccents: boolean | null;
  /** Spaces around Chinese letters. */
  readonly spaceChinese: boolean;
}

/** The rules of bert-base-uncased. */
export const uncased: BertRules = { lowercase: true, stripAccents: null, spaceChinese: true };

/** @param words the vocabulary in the order of ids. Throws `ERR_COTS_TOKENIZER` for a word twice or a special word missing. */
export function tokenizerJson(words: readonly string[], where: string, rules: BertRules = uncased): object {
  const vocab = vocabularyMap(words, where);
  const id = (word: string) => vocab.get(word) as number;
  const { cls, sep, unk } = specialWords;
  const special = (word: string) => ({ SpecialToken: { id: word, type_id: 0 } });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: Object.values(specialWords)
      .map((content) => ({
        id: id(content),
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      }))
      .sort((a, b) => a.id - b.id),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: rules.spaceChinese,
      strip_accents: rules.stripAccents,
      lowercase: rules.lowercase,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [special(cls), { Sequence: { id: 'A', type_id: 0 } }, special(sep)],
      pair: [
        special(cls),
        { Sequence: { id: 'A', type_id: 0 } },
        special(sep),
        { Sequence: { id: 'B', type_id: 1 } },
        { SpecialToken: { id: sep, type_id: 1 } },
      ],
      special_tokens: {
        [cls]: { id: cls, ids: [id(cls)], tokens: [cls] },
        [sep]: { id: sep, ids: [id(sep)], tokens: [sep] },
      },
    },
    decoder: { type: 'WordPiece', prefix: continuation, cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: unk,
      continuing_subword_prefix: continuation,
      max_input_chars_per_word: maxWordLetters,
      vocab: Object.fromEntries(vocab),
    },
  };
}

function vocabularyMap(words: readonly string[], where: string): Map<string, number> {
  const vocab = new Map<string, number>();
  for (const [id, word] of words.entries()) {
    const first = vocab.get(word);
    if (first !== undefined) {
      throw new CotsError(
        'ERR_COTS_TOKENIZER',
        `Expected every word of ${where} once, got '${word}' on lines ${first + 1} and ${id + 1}. Remove one.`,
      );
    }

    vocab.set(word, id);
  }

  const missing = Object.values(specialWords).filter((word) => !vocab.has(word));
  if (missing.length > 0) {
    throw new CotsError(
      'ERR_COTS_TOKENIZER',
      `Expected ${where} to have ${Object.values(specialWords).join(' ')}, it lacks ${missing.join(' ')}. Use a BERT vocabulary.`,
    );
  }

  return vocab;
}
