/** Captions to ids, as transformers' `BertTokenizerFast` (WordPiece) or `CLIPTokenizerFast` (byte pairs) makes them. Legend: B texts, L tokens. */
import path from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { show } from '../../checks.js';
import { CotsError } from '../../errors.js';
import { exists, kindOf, readText } from '../../read-file.js';
import { writeFileAtomic } from '../../write-file.js';
import { clipTokenizerJson, clipWords } from './clip-tokenizer-json.js';
import { type BertRules, specialWords, tokenizerJson, uncased } from './tokenizer-json.js';

/** Ids of the special words. */
export interface SpecialIds {
  readonly pad: number;
  readonly unk: number;
  /** Begins a text. */
  readonly cls: number;
  /** Ends it. */
  readonly sep: number;
  /** null: a CLIP, which masks no words. */
  readonly mask: number | null;
}

/** A batch of encoded texts. */
export interface EncodedTexts {
  /** [B, L], row-major, padded with `special.pad` to the longest text. */
  readonly ids: Int32Array;
  /** [B]: tokens of each text, [CLS] and [SEP] included. */
  readonly lengths: Int32Array;
  /** L. */
  readonly columns: number;
}

// A CJK letter beyond 16 bits: BERT sets spaces around it, the JavaScript tokenizer sees two halves (ranges of BERT).
const wideCjk = /[\u{20000}-\u{2a6df}\u{2a700}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;

const keptChunks = 200_000;
const keptChunkLength = 64;

/** A tokenizer of BERT's or CLIP's kind. */
export class TextTokenizer {
  readonly special: SpecialIds;
  /** Ids are below this. */
  readonly vocabSize: number;
  readonly #json: object;
  readonly #tokenizer: Tokenizer;
  readonly #normalizer: { type?: string; lowercase?: boolean } | null;
  readonly #isClip: boolean;
  readonly #chunks = new Map<string, readonly number[]>();

  /** @param json the object of a `tokenizer.json`; `where` names it in messages. Throws `ERR_COTS_TOKENIZER`. */
  constructor(json: object, where: string) {
    this.#json = json;
    this.#normalizer = (json as { normalizer?: { type?: string } | null }).normalizer ?? null;
    this.#tokenizer = create(json, where);
    this.#isClip = (json as { model?: { type?: string } }).model?.type === 'BPE';
    const id = (word: string): number => {
      const found = this.#tokenizer.token_to_id(word);
      if (found !== undefined) return found;
      throw tokenizerError(
        `Expected ${where} to have the word ${word}, it has not. Use the vocabulary of a BERT or a CLIP.`,
      );
    };
    const { pad, unk, cls, sep, mask } = this.#isClip ? clipWords : specialWords;
    this.special = {
      pad: id(pad),
      unk: id(unk),
      cls: id(cls),
      sep: id(sep),
      mask: mask === null ? null : id(mask),
    };
    this.vocabSize = 1 + largestId(json);
  }

  /** Reads `tokenizer.json`, `vocab.txt`, or a folder with one of them. Throws `ERR_COTS_TOKENIZER`, `ERR_COTS_FILE`. */
  static async load(file: string): Promise<TextTokenizer> {
    if (path.extname(file) === '.txt')
      return TextTokenizer.fromVocabulary((await readText(file, 'a vocabulary')).split(/\r?\n/), file);
    if (path.extname(file) !== '.json') return TextTokenizer.#fromFolder(file);
    const json = await readTokenizerJson(file);
    if (!('model' in json)) {
      throw tokenizerError(
        `Expected ${file} to be a tokenizer.json with a \`model\`, got ${show(json)}. Give tokenizer.json or vocab.txt.`,
      );
    }

    return new TextTokenizer(json, file);
  }

  /** A BERT tokenizer of these words, in the order of their ids; lower-casing unless `rules` say otherwise. An empty last line is dropped. */
  static fromVocabulary(
    words: readonly string[],
    where = 'the vocabulary',
    rules: BertRules = uncased,
  ): TextTokenizer {
    const kept = words.at(-1) === '' ? words.slice(0, -1) : words;
    return new TextTokenizer(tokenizerJson(kept, where, rules), where);
  }

  static async #fromFolder(folder: string): Promise<TextTokenizer> {
    const file = (name: string): string => path.join(folder, name);
    const has = async (...names: string[]): Promise<boolean> =>
      (await Promise.all(names.map((name) => kindOf(file(name))))).every((kind) => kind === 'file');
    if (await has('tokenizer.json')) return TextTokenizer.load(file('tokenizer.json'));
    if (await has('vocab.txt')) return TextTokenizer.#fromBertFiles(folder);
    if (await has('vocab.json', 'merges.txt')) {
      const vocabulary = await readTokenizerJson(file('vocab.json'));
      const merges = await readText(file('merges.txt'), 'merges');
      return new TextTokenizer(clipTokenizerJson(vocabulary, merges, file('vocab.json')), folder);
    }

    throw tokenizerError(
      `Expected a tokenizer in ${folder}, found neither tokenizer.json nor vocab.txt nor vocab.json with merges.txt. Put the files of the model's tokenizer there.`,
    );
  }

  /** vocab.txt, with what tokenizer_config.json says of case, accents and Chinese. */
  static async #fromBertFiles(folder: string): Promise<TextTokenizer> {
    const file = path.join(folder, 'vocab.txt');
    const words = (await readText(file, 'a vocabulary')).split(/\r?\n/);
    const settings = path.join(folder, 'tokenizer_config.json');
    const given = (await exists(settings)) ? await readTokenizerJson(settings) : {};
    return TextTokenizer.fromVocabulary(words, file, {
      lowercase: given['do_lower_case'] !== false,
      stripAccents: typeof given['strip_accents'] === 'boolean' ? given['strip_accents'] : null,
      spaceChinese: given['tokenize_chinese_chars'] !== false,
    });
  }

  /** [CLS] words [SEP], at most `maxLength` ids: the words beyond are cut, [SEP] stays. Empty text is [CLS][SEP]. */
  encode(text: string, maxLength = Number.MAX_SAFE_INTEGER): Int32Array {
    const ids = this.#ids(text);
    const count = Math.min(ids.length, maxLength - 2);
    const encoded = new Int32Array(count + 2);
    encoded[0] = this.special.cls;
    for (let index = 0; index < count; index++) encoded[index + 1] = ids[index] as number;
    encoded[count + 1] = this.special.sep;
    return encoded;
  }

  /** Words of `text` as the vocabulary cuts them, without [CLS] and [SEP]. */
  words(text: string): string[] {
    return this.#tokenizer.tokenize(this.#prepared(text), { add_special_tokens: false });
  }

  /** Pads encoded texts to the longest. */
  pad(texts: readonly Int32Array[]): EncodedTexts {
    const columns = texts.reduce((longest, { length }) => Math.max(longest, length), 0);
    const ids = new Int32Array(texts.length * columns).fill(this.special.pad);
    const lengths = new Int32Array(texts.length);
    for (const [row, text] of texts.entries()) {
      ids.set(text, row * columns);
      lengths[row] = text.length;
    }

    return { ids, lengths, columns };
  }

  /** Encodes and pads. */
  encodeBatch(texts: readonly string[], maxLength: number): EncodedTexts {
    return this.pad(texts.map((text) => this.encode(text, maxLength)));
  }

  /** All words in the order of their ids. */
  vocabulary(): string[] {
    const { vocab } = (this.#json as { model: { vocab: Record<string, number> } }).model;
    return Object.keys(vocab).sort((a, b) => (vocab[a] as number) - (vocab[b] as number));
  }

  /** Contents of a `tokenizer.json` that transformers loads to the same ids. */
  toJSON(): object {
    return this.#json;
  }

  /** Writes `tokenizer.json`. Throws `ERR_COTS_FILE`. */
  async save(file: string): Promise<void> {
    await writeFileAtomic(file, `${JSON.stringify(this.#json, null, 1)}\n`);
  }

  /** BERT never looks across a space, so the ids of what stands between spaces are kept. */
  #ids(text: string): readonly number[] {
    if (this.#isClip) return this.#untilEnd(this.#encode(text));
    if (this.#normalizer?.type !== 'BertNormalizer') return this.#encode(text);
    const ids: number[] = [];
    for (const chunk of text.split(' ')) {
      let known = this.#chunks.get(chunk);
      if (known === undefined) {
        known = this.#encode(chunk);
        if (this.#chunks.size < keptChunks && chunk.length <= keptChunkLength) this.#chunks.set(chunk, known);
      }

      for (const id of known) ids.push(id);
    }

    return ids;
  }

  /** The end of a text may stand in it: CLIP takes the state there, which what follows does not change. */
  #untilEnd(ids: readonly number[]): readonly number[] {
    const end = ids.indexOf(this.special.sep);
    return end === -1 ? ids : ids.slice(0, end);
  }

  #encode(text: string): readonly number[] {
    return this.#tokenizer.encode(this.#prepared(text), { add_special_tokens: false }).ids;
  }

  /** Where the JavaScript normalizer differs: a capital sigma at a word's end, and BERT's wide CJK letters. */
  #prepared(text: string): string {
    if (this.#isClip) return text.replaceAll('\u03a3', '\u03c3');
    if (this.#normalizer?.type !== 'BertNormalizer') return text;
    const spaced = text.replace(wideCjk, ' $& ');
    return this.#normalizer.lowercase === false ? spaced : spaced.replaceAll('\u03a3', '\u03c3');
  }
}

async function readTokenizerJson(file: string): Promise<Record<string, unknown>> {
  const text = await readText(file, 'a tokenizer');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw tokenizerError(
      `Expected ${file} to be JSON, got: ${(error as Error).message}. Restore it from its source.`,
      error,
    );
  }

  if (typeof json === 'object' && json !== null && !Array.isArray(json))
    return json as Record<string, unknown>;
  throw tokenizerError(
    `Expected ${file} to hold a JSON object, got ${show(json)}. Restore it from its source.`,
  );
}

function create(json: object, where: string): Tokenizer {
  try {
    return new Tokenizer(json, {});
  } catch (error) {
    throw tokenizerError(
      `Expected ${where} to be a tokenizer that can be read, got: ${(error as Error).message}. Restore it from its source.`,
      error,
    );
  }
}

function largestId(json: object): number {
  const { model, added_tokens: added } = json as {
    model: { vocab: Record<string, number> };
    added_tokens?: { id: number }[];
  };
  let largest = -1;
  for (const id of Object.values(model.vocab)) largest = Math.max(largest, id);
  for (const { id } of added ?? []) largest = Math.max(largest, id);
  return largest;
}

function tokenizerError(message: string, cause?: unknown): CotsError {
  return new CotsError('ERR_COTS_TOKENIZER', message, { cause });
}
