"""The miniature's two tokenizers, of the classes that FLUX.1 uses, with a vocabulary of a few hundred words.

CLIP's tokenizer is byte-level and reads any text. T5's tokenizer maps every word outside the vocabulary to
the same unknown token: so small a model cannot draw such a word, and should draw the known words as if the
unknown one were not there.
"""

from functools import cache
from importlib.resources import files
from typing import Final

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer, T5TokenizerFast


def _lines(name: str) -> list[str]:
    return files("inference.miniature").joinpath(name).read_text("utf-8").splitlines()


WORDS: Final = tuple(_lines("words.txt"))
"""The words of avatar prompts, in lower case; each becomes one token, as nearly always in FLUX.1."""

MAX_TEXT_TOKENS: Final = 64
"""T5's token limit, where FLUX.1 has 512: enough for fifty words and the catalogue's quality terms."""

_PUNCTUATION: Final = ",.;:!?()-/"
_WORD_SCORE: Final = -4.0
_PUNCTUATION_SCORE: Final = -6.0


def in_all_cases(word: str) -> tuple[str, str, str]:
    """Return the word as it is, capitalised and in capitals, since T5's tokenizer is case-sensitive."""
    return word, word.capitalize(), word.upper()


@cache
def t5_tokenizer() -> T5TokenizerFast:
    """Make T5's tokenizer: a unigram model of words, at most 64 tokens with the end token."""
    pieces = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0}
    pieces |= dict.fromkeys(_PUNCTUATION, _PUNCTUATION_SCORE)
    pieces |= {f"▁{written}": _WORD_SCORE for word in WORDS for written in in_all_cases(word)}
    return T5TokenizerFast(vocab=list(pieces.items()), extra_ids=0, model_max_length=MAX_TEXT_TOKENS)


@cache
def clip_tokenizer() -> CLIPTokenizer:
    """Make CLIP's tokenizer: byte pairs, lower case, at most 77 tokens with the start and end tokens."""
    merges = [(first, second) for first, second in (line.split() for line in _lines("merges.txt"))]
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
