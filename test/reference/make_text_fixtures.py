"""A small BERT vocabulary, awkward texts, and what transformers' BertTokenizerFast and ALBEF's pre_caption make of them.

    python make_text_fixtures.py        writes fixtures/text/: vocab.txt, tokenizer.json, texts.json, cleaned.json
    python make_text_fixtures.py --check FOLDER
                                        loads FOLDER/tokenizer.json by transformers; prints the ids of the texts as JSON
"""
import json
import random
import re
import sys
import unicodedata
from pathlib import Path

from transformers import BertTokenizerFast, PreTrainedTokenizerFast

OUT = Path(__file__).parent / "fixtures" / "text"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "the a red bus dog cat sky running play ##ing ##er ##s ##ed un ##able cafe naive don stop it is person".split()

TEXTS = [
    "", " ", "a red bus", "A Red BUS!", "caf\u00e9 na\u00efve \u00dcn\u00efcode", "cafe\u0301 e\u0301", "a\u0300\u0301\u0302b",
    "\u4e2d\u6587 and \u65e5\u672c\u8a9e", "\ud55c\uad6d\uc5b4", "\U00020000a\U0002a6d6b", "\u0440\u0443\u0441 \u0439 \u0451",
    "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2 \u03a3\u0391\u03a3", "\u0130stanbul \u0131I \u00df \u1e9e \ufb01", "\u01c5",
    "\uff21\uff42\uff43\uff11", "\u0939\u093f\u0928\u094d\u0926\u0940 \u0967", "\u0e44\u0e17\u0e22", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "\U0001f600\u2764\ufe0f the dog", "\U0001f1e9\U0001f1ea\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2467 \u2460 \u00b2 \u00bd",
    "tab\tnew\nline\r x", "ctl\x00\x01\x7f\u200b\u00ad\ufeffx\ufffd", "\u3000wide\u00a0nbsp\u2028ls\u2029ps\u0085nel", "\u180ea \U000e0001x",
    "[MASK] a [SEP] [CLS] [PAD] [UNK] [mask]", "x[MASK]y", "[MASK][MASK]", "x" * 100, "x" * 101, "playing unable runnings",
    "don't stop-it (now) a/b #x $5 ^~`|<>=+", "\u2014\u2013\u2026\u201c\u201d\u00ab\u00bb\u00bf\u00b7", "  lead and trail  ", "<person> is",
]


def pre_caption(caption, max_words):
    """ALBEF's rule (SPEC 2.5 data.text_clean); it refuses an empty result, which we keep."""
    caption = re.sub(r"([,.'!?\"()*#:;~])", "", caption.lower())
    caption = caption.replace("-", " ").replace("/", " ").replace("<person>", "person")
    caption = re.sub(r"\s{2,}", " ", caption)
    caption = caption.rstrip("\n").strip(" ")
    words = caption.split(" ")
    return " ".join(words[:max_words]) if len(words) > max_words else caption


def random_texts(count):
    """Letters of many scripts thrown together."""
    rng = random.Random(1)
    ranges = [(0x20, 0x250), (0x20, 0x250), (0, 0x20), (0x300, 0x370), (0x370, 0x600), (0x900, 0x980), (0x1E00, 0x2200), (0x2E80, 0x3100),
              (0x4E00, 0x4E40), (0xAC00, 0xAC40), (0xF900, 0xFA20), (0xFE00, 0x10000), (0x1F300, 0x1F650), (0x20000, 0x20020)]
    pool = [chr(code) for low, high in ranges for code in range(low, high)]
    return ["".join(rng.choice(pool) if rng.random() < 0.7 else rng.choice(" ab") for _ in range(rng.randint(1, 12))) for _ in range(count)]


def vocabulary(texts):
    forms = {form for text in texts for form in (text, text.lower(), unicodedata.normalize("NFD", text).lower())}
    letters = sorted({letter for form in forms for letter in form if not letter.isspace() and ord(letter) >= 32})
    return list(dict.fromkeys(SPECIAL + WORDS + letters + ["##" + letter for letter in letters]))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    texts = TEXTS + random_texts(150)
    words = vocabulary(texts)
    (OUT / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf8")
    tokenizer = BertTokenizerFast(vocab={word: index for index, word in enumerate(words)})
    (OUT / "tokenizer.json").write_text(tokenizer.backend_tokenizer.to_str(), encoding="utf8")
    long = " ".join(["dog"] * 10000)
    rows = [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in texts]
    rows.append({"text": "10,000 times dog", "ids": tokenizer(long, truncation=True, max_length=40)["input_ids"]})
    (OUT / "texts.json").write_text(json.dumps(rows, separators=(",", ":")) + "\n")
    captions = TEXTS + ["A man -- riding a/b <PERSON> 'wave'\n", "one\x1ctwo\x85\x85three \x1f four", "word " * 50, "...", "a\u3000\u3000b\ufeff\ufeffc"]
    cleaned = [{"caption": caption, "cleaned": pre_caption(caption, 30)} for caption in captions]
    (OUT / "cleaned.json").write_text(json.dumps(cleaned, separators=(",", ":")) + "\n")


def check(folder):
    rows = json.loads((OUT / "texts.json").read_text())[:-1]
    loaded = BertTokenizerFast.from_pretrained(folder)
    plain = PreTrainedTokenizerFast(tokenizer_file=str(Path(folder) / "tokenizer.json"))
    ids = [loaded(row["text"])["input_ids"] for row in rows]
    assert ids == [plain(row["text"])["input_ids"] for row in rows]
    print(json.dumps(ids))


if __name__ == "__main__":
    check(sys.argv[2]) if sys.argv[1:2] == ["--check"] else main()
