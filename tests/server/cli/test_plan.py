from inference.local.cards import CARDS, Card
from server.cli import options


def rows_of(result):
    """Return the cells of the table of entries, by the entry."""
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.stdout.splitlines()]
    return {row[0]: row[1:] for row in cells if len(row) == 6}


class TestPlan:
    def test_every_entry_has_a_row(self, bare):
        """On 24 GB dev is on the device and schnell pinned, each half a second away from the other."""
        result = bare("plan", "--gpu", "4090-24g")
        assert result.exit_code == 0
        assert rows_of(result) == {
            "flux-dev-base": ["fp8", "device", "0.5 s", "1024x1024", "4"],
            "flux-dev-realism": ["fp8", "device", "0.5 s", "1024x1024", "4"],
            "flux-dev-hd-realism": ["fp8", "device", "0.5 s", "1536x1536", "4"],
            "flux-schnell-fast": ["fp8", "pinned host", "0.5 s", "1024x1024", "4"],
        }
        assert "NVIDIA RTX 4090 24 GB: one base model at a time, 22.4 GB" in result.stdout
        assert "18.7 GB of weights are on the device" in result.stdout

    def test_a_streamed_t5_is_told(self, bare):
        """On 16 GB the output says what streaming T5 costs each prompt."""
        assert (
            "T5 is streamed: each new prompt takes 0.2 s longer." in bare("plan", "--gpu", "4080-16g").stdout
        )

    def test_the_host_counts(self, bare):
        """Beside a host of 16 GB, schnell is read from the disk, in twelve seconds."""
        rows = rows_of(bare("plan", "--gpu", "4090-24g", "--host-gb", "16"))
        assert rows["flux-schnell-fast"][1:3] == ["disk", "11.9 s"]

    def test_an_impossible_card_is_refused(self, bare, monkeypatch):
        """A card that is too small gives a sentence and the exit code 1."""
        small = Card("Small 8 GB", 8_000_000_000, (8, 9), 25e9)
        monkeypatch.setitem(CARDS, "4080-16g", small)
        result = bare("plan", "--gpu", "4080-16g")
        assert result.exit_code == 1
        sentence = (
            "Small 8 GB is too small for FLUX.1: an image of 512x512 needs 14.5 GB, and 7.2 GB can be used"
        )
        assert result.stderr == f"Error: {sentence}\n"

    def test_without_torch(self, bare, monkeypatch):
        """Where torch is not installed, as in the API's image, the command says what to install."""
        monkeypatch.setattr(options, "find_spec", lambda name: None if name == "torch" else object())
        result = bare("plan", "--gpu", "h100-80g")
        assert result.exit_code == 1
        assert "torch not installed" in result.stderr
        assert "pip install avatar-creator[worker]" in result.stderr
