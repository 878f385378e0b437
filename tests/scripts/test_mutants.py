import ast
import tomllib
from collections import Counter

import pytest

from scripts.mutants import EXPLAINED, ROOT, Change, explained, function_of, judge, table

DIFF = """--- server/credits/repository.py
+++ server/credits/repository.py
@@ -1,6 +1,6 @@
 def moved(self) -> dict[str, int]:
-    return {kind: int(total) for kind, total in rows}
+        return {kind: int(None) for kind, total in rows}
"""
MOVED = Change(
    "server.credits.repository.Ledger.moved",
    (
        "- return {kind: int(total) for kind, total in rows}",
        "+ return {kind: int(None) for kind, total in rows}",
    ),
)
LIST = """
[[survivor]]
function = "server.credits.repository.Ledger.moved"
changes = ['''
- return {kind: int(total) for kind, total in rows}
+ return {kind: int(None) for kind, total in rows}
''']
reason = "A sum of whole numbers is one."
"""


class TestChange:
    def test_the_lines_alone_count(self) -> None:
        """A change is known by its function and its lines, wherever they stand and however indented."""
        assert Change.of_text("server.credits.repository.Ledger.moved", DIFF) == MOVED

    def test_as_it_is_listed(self) -> None:
        """The list is read as the changes that mutmut shows, with their reasons."""
        assert explained(LIST) == {MOVED: "A sum of whole numbers is one."}
        assert explained("") == {}

    @pytest.mark.parametrize(
        ("mutant", "function"),
        [
            ("catalog.tiers.xǁRankedǁ__lt____mutmut_1", "catalog.tiers.Ranked.__lt__"),
            ("catalog.entries.x_shipped_entries__mutmut_12", "catalog.entries.shipped_entries"),
            ("catalog.entries.x__side__mutmut_3", "catalog.entries._side"),
        ],
    )
    def test_its_function(self, mutant: str, function: str) -> None:
        """A mutant is named for the function that it is a change of, and for that function's class."""
        assert function_of(mutant) == function


class TestJudge:
    def test_both_ways(self) -> None:
        """A survivor needs its reason, and a reason its survivor."""
        other = Change("catalog.tiers.Ranked.__lt__", ("- <", "+ <="))
        assert judge([MOVED, MOVED], [MOVED]) == ([], [])
        assert judge([MOVED, other], [MOVED]) == ([other], [])
        assert judge([], [MOVED]) == ([], [MOVED])


class TestTable:
    def test_counts(self) -> None:
        """Each file has a line with its counts, and a rare status has a column if it occurred."""
        shown = table({"a.py": Counter(killed=3, survived=1), "b.py": Counter(killed=2, segfault=1)})
        assert [line.split() for line in shown.splitlines()] == [
            ["killed", "survived", "no", "tests", "timeout", "segfault", "all"],
            ["a.py", "3", "1", "0", "0", "0", "4"],
            ["b.py", "2", "0", "0", "0", "1", "3"],
            ["all", "5", "1", "0", "0", "1", "7"],
        ]


def body_of(function: str) -> str:
    """The source of a function, or of a class's method, that is named from the root on."""
    parts = function.split(".")
    folders = next(n for n in range(1, len(parts)) if (ROOT.joinpath(*parts[:n]).with_suffix(".py")).exists())
    text = ROOT.joinpath(*parts[:folders]).with_suffix(".py").read_text("utf-8")
    node: ast.AST = ast.parse(text)
    for name in parts[folders:]:
        node = next(child for child in ast.iter_child_nodes(node) if getattr(child, "name", None) == name)
    return ast.get_source_segment(text, node) or ""


class TestListedSurvivors:
    def test_it_matches_the_code(self) -> None:
        """Each listed change removes lines that its function has, and each reason is a sentence."""
        for change, reason in explained(EXPLAINED.read_text("utf-8")).items():
            body = {line.strip() for line in body_of(change.function).splitlines()}
            assert {line[2:] for line in change.lines if line.startswith("-")} <= body, change
            assert reason.endswith("."), change

    def test_each_change_is_listed_once(self) -> None:
        """No change has two reasons."""
        listed = tomllib.loads(EXPLAINED.read_text("utf-8")).get("survivor", [])
        assert sum(len(entry["changes"]) for entry in listed) == len(explained(EXPLAINED.read_text("utf-8")))
