"""Finds the pairs that CLIP's tokenizer merges, and writes them beside the words of the vocabulary.

    python -m scripts.miniature.merges

Run it when words.txt has changed, before training: the model knows its words by the numbers that follow.
Pairs are those that a trainer finds in the words alone, so that each ends up as one token; merging every
word from its front would let the pairs of one break the next.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from inference.miniature import vocabulary


def find_merges() -> list[str]:
    """Return pairs, the first to be merged first, each as its halves with a space between."""
    trained = Tokenizer(BPE(end_of_word_suffix="</w>"))
    trainer = BpeTrainer(vocab_size=2**16, min_frequency=1, end_of_word_suffix="</w>", show_progress=False)
    trained.train_from_iterator([word for word in vocabulary.WORDS if word.isalpha()], trainer)
    return [f"{first} {second}" for first, second in json.loads(trained.to_str())["model"]["merges"]]


if __name__ == "__main__":
    file = Path(vocabulary.__file__).parent / "merges.txt"
    file.write_text("\n".join(find_merges()) + "\n", "utf-8")
