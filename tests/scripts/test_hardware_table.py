"""The documents' table of cards."""

import pytest

from scripts.hardware_table import BEGIN, END, FILES, SHOWN, render, written


class TestHardwareTable:
    def test_the_documents_have_what_the_planner_counts(self):
        """The tables are what the planner says of the cards; `make hardware-table` writes them."""
        made = render()
        texts = [file.read_text("utf-8") for file in FILES]
        assert [written(text, made) for text in texts] == texts

    @pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
    def test_a_row_for_each_card(self, file):
        """Between the marks there is a head and a row for each card."""
        table = file.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
        assert len(table.splitlines()) == 2 + len(SHOWN)

    def test_another_table_takes_its_place(self):
        """What is between the marks is replaced, and nothing else."""
        assert written(f"before\n{BEGIN}old\n{END}\nafter", "new\n") == f"before\n{BEGIN}new\n{END}\nafter"
