import random
from dataclasses import replace

import pytest

from inference.miniature.vocabulary import WORDS, t5_tokenizer
from scripts.miniature.attributes import sample_trained
from scripts.miniature.captions import caption, meaning, training_caption, words


def captions(count, **how):
    rng = random.Random(5)
    return [caption(sample_trained(rng), rng, **how) for _ in range(count)]


class TestCaption:
    def test_the_vocabulary_holds_every_word(self):
        """The miniature's vocabulary has every word of the captions, apart from punctuation."""
        missing = {word for word in words() if word not in WORDS and word.strip(",.+") not in WORDS}
        assert missing <= {"20-30", "30-50", "50+"}

    def test_a_complete_caption_names_what_differs(self):
        """With the same seed, another background changes the caption."""
        for number in range(50):
            avatar = sample_trained(random.Random(number))
            other = replace(avatar, background="teal" if avatar.background != "teal" else "pink")
            first, second = (caption(each, random.Random(number)) for each in (avatar, other))
            assert first != second

    def test_the_order_is_free(self):
        """The captions of one avatar name the background at many positions."""
        avatar = sample_trained(random.Random(1))
        texts = [caption(avatar, random.Random(number)) for number in range(40)]
        places = {text.find("background") * 10 // len(text) for text in texts if "background" in text}
        assert len(places) > 3

    def test_some_distractors_are_unknown_words(self):
        """Captions with distractors have words that are in no vocabulary; other captions rarely do."""
        unknown = t5_tokenizer().unk_token_id
        plain, distracted = (
            sum(unknown in t5_tokenizer()(text).input_ids for text in captions(100, distractors=count))
            for count in (0, 3)
        )
        assert plain < 20  # the API's ages are numbers, which are unknown words
        assert distracted > 50

    def test_some_training_captions_are_empty(self):
        """About one training caption in ten is empty."""
        rng = random.Random(2)
        texts = [training_caption(sample_trained(rng), rng) for _ in range(600)]
        assert 30 < texts.count("") < 100


class TestMeaning:
    @pytest.mark.parametrize(
        ("attribute", "text", "value"),
        [
            ("glasses", "a man with sunglasses", "sunglasses"),
            ("glasses", "a man in dark glasses", "sunglasses"),
            ("glasses", "A man. Glasses, too.", "glasses"),
            ("person", "a humane woman", "woman"),
            ("hair_style", "short-tempered", None),
            ("mood", "", None),
        ],
    )
    def test_the_longest_phrase_counts(self, attribute, text, value):
        """A text names the value of its longest phrase, and words inside others name nothing."""
        assert meaning(attribute, text) == value
