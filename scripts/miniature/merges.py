"""Finds the merges of CLIP's tokenizer, and writes them beside the words of the vocabulary.

    python -m scripts.miniature.merges

Run it when words.txt has changed, before training: the model's token numbers depend on the merges. A BPE
trainer finds them in the words alone, so that every word becomes one token. If every word were merged from
its front, the merges of one word would break those of another.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from inference.miniature import vocabulary


def find_merges() -> list[str]:
    """Return the merges in their order, each as two parts with a space between."""
    trained = Tokenizer(BPE(end_of_word_suffix="</w>"))
    trainer = BpeTrainer(vocab_size=2**16, min_frequency=1, end_of_word_suffix="</w>", show_progress=False)
    trained.train_from_iterator([word for word in vocabulary.WORDS if word.isalpha()], trainer)
    return [f"{first} {second}" for first, second in json.loads(trained.to_str())["model"]["merges"]]


if __name__ == "__main__":
    file = Path(vocabulary.__file__).parent / "merges.txt"
    file.write_text("\n".join(find_merges()) + "\n", "utf-8")
