import random
from dataclasses import replace

from inference.miniature.vocabulary import WORDS, t5_tokenizer
from scripts.miniature.attributes import sample_trained
from scripts.miniature.captions import caption, training_caption, words


def captions(count, **how):
    chance = random.Random(5)
    return [caption(sample_trained(chance), chance, **how) for _ in range(count)]


class TestCaption:
    def test_the_vocabulary_holds_every_word(self):
        """Every word that a caption is made of is one of the miniature's, up to its punctuation."""
        missing = {word for word in words() if word not in WORDS and word.strip(",.+") not in WORDS}
        assert missing <= {"20-30", "30-50", "50+"}

    def test_a_complete_caption_names_what_differs(self):
        """Change the background, and the caption made by the same chances changes."""
        for number in range(50):
            avatar = sample_trained(random.Random(number))
            other = replace(avatar, background="teal" if avatar.background != "teal" else "pink")
            first, second = (caption(each, random.Random(number)) for each in (avatar, other))
            assert first != second

    def test_the_order_is_free(self):
        """One avatar is described in many orders."""
        avatar = sample_trained(random.Random(1))
        told = [caption(avatar, random.Random(number)) for number in range(40)]
        places = {text.find("background") * 10 // len(text) for text in told if "background" in text}
        assert len(places) > 3

    def test_strangers_are_unknown_or_idle(self):
        """Words that mean nothing are among the others, some of them in no vocabulary."""
        unknown = t5_tokenizer().unk_token_id
        plain, strange = (
            sum(unknown in t5_tokenizer()(text).input_ids for text in captions(100, strangers=count))
            for count in (0, 3)
        )
        assert plain < 20  # the API's ages are numbers
        assert strange > 50

    def test_training_leaves_much_out(self):
        """About one training caption in ten says nothing at all."""
        chance = random.Random(2)
        told = [training_caption(sample_trained(chance), chance) for _ in range(600)]
        assert 30 < told.count("") < 100
