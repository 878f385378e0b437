"""The miniature's two tokenizers, of the classes that FLUX.1 uses, with a vocabulary of about a thousand.

CLIP's is byte-level and reads any text. T5's reads the letters below; like FLUX.1's own, it has one
unknown piece for every other script.
"""

from functools import cache
from importlib.resources import files
from typing import Final

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer, T5TokenizerFast

# Words of avatar prompts: each becomes one token, so that a prompt costs about as many tokens as it
# does in FLUX.1. Everything else is spelt out.
WORDS: Final = tuple(files("inference.miniature").joinpath("words.txt").read_text("utf-8").split())

_SCRIPTS: Final = (
    (0x0021, 0x007F),  # ASCII
    (0x00A1, 0x0180),  # Latin with its accents
    (0x0386, 0x03CF),  # Greek
    (0x0400, 0x0460),  # Cyrillic
    (0x2010, 0x2027),  # dashes and quotation marks
)
_LETTERS: Final = [
    chr(code) for first, end in _SCRIPTS for code in range(first, end) if chr(code).isprintable()
]

_WORD_SCORE: Final = -4.0
_LETTER_SCORE: Final = -6.0  # a word's piece beats its letters, and so does any mix with fewer pieces


@cache
def t5_tokenizer() -> T5TokenizerFast:
    """Make T5's tokenizer: pieces of text by a unigram model, at most 512 tokens with the closing one."""
    pieces = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, "▁": _LETTER_SCORE}
    pieces |= dict.fromkeys(_LETTERS, _LETTER_SCORE)
    pieces |= {f"▁{word}": _WORD_SCORE for word in WORDS}
    return T5TokenizerFast(vocab=list(pieces.items()), extra_ids=0, model_max_length=512)


@cache
def clip_tokenizer() -> CLIPTokenizer:
    """Make CLIP's tokenizer: byte pairs, lower case, at most 77 tokens with the two enclosing ones."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges = []
    for word in WORDS:
        if not word.isalpha():
            continue
        symbols = [*word[:-1], f"{word[-1]}</w>"]
        head = symbols[0]
        for tail in symbols[1:]:
            merges.append((head, tail))
            head += tail
            tokens.append(head)
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=list(dict.fromkeys(merges)), model_max_length=77)
