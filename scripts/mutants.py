"""Change the catalogue and the credits one line at a time, and check that a test fails for each change.

    python -m scripts.mutants ['catalog.tiers.*' ...]

mutmut makes the changes, called mutants, and runs the tests; [tool.mutmut] in pyproject.toml configures it. A
mutant that passes all tests has survived: either a test is missing, or nobody could observe the difference.
The second kind is listed in mutants.toml with the reason. The exit status is 1 if a survivor is not listed,
or if a listed mutant did not survive. Names restrict the run, and then only the survivors are checked.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import click
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files
from mutmut.utils.format_utils import get_module_from_key, orig_function_and_class_names_from_key

ROOT: Final = Path(__file__).parent.parent
EXPLAINED: Final = Path(__file__).with_suffix(".toml")
COLUMNS: Final = ("killed", "survived", "no tests", "timeout")
NOTICED: Final = {"killed", "timeout"}
LEFT_OUT: Final = "not checked"
CRASHED: Final = 255  # pytest itself raised, so there is no result; mutmut would count it as a timeout


@dataclass(frozen=True, order=True)
class Change:
    """A change without its line numbers: the function, and the lines removed and added."""

    function: str
    lines: tuple[str, ...]

    @classmethod
    def of_text(cls, function: str, text: str) -> Self:
        """Read the lines that begin with - or + of a diff, however they are indented."""
        lines = [line.strip() for line in text.splitlines() if not line.startswith(("---", "+++"))]
        return cls(
            function, tuple(f"{line[0]} {line[1:].strip()}" for line in lines if line[:1] in {"-", "+"})
        )

    def __str__(self) -> str:
        return "\n".join([self.function, *(f"    {line}" for line in self.lines)])


def function_of(mutant: str) -> str:
    """Return the dotted name of the function that a mutant is a change of."""
    function, of_class = orig_function_and_class_names_from_key(mutant)
    return ".".join(filter(None, (get_module_from_key(mutant), of_class, function)))


def explained(document: str) -> dict[Change, str]:
    """Read the reasons from the text of `mutants.toml`."""
    return {
        Change.of_text(survivor["function"], text): survivor["reason"]
        for survivor in tomllib.loads(document).get("survivor", [])
        for text in survivor["changes"]
    }


def judge(survivors: Iterable[Change], reasons: Iterable[Change]) -> tuple[list[Change], list[Change]]:
    """Return the survivors without a reason, and the listed changes that did not survive."""
    survived, listed = set(survivors), set(reasons)
    return sorted(survived - listed), sorted(listed - survived)


def table(statuses: dict[str, Counter[str]]) -> str:
    """Return the counts, a line a file and one for all."""
    columns = [*COLUMNS, *sorted(set().union(*statuses.values()) - set(COLUMNS))]
    rows = [*statuses.items(), ("all", sum(statuses.values(), Counter[str]()))]
    width = max(len(file) for file, _ in rows)
    lines = [" ".join([f"{'':{width}}", *(f"{column:>9}" for column in columns), f"{'all':>9}"])]
    for file, counts in rows:
        numbers = [*(counts[column] for column in columns), counts.total()]
        lines.append(" ".join([f"{file:{width}}", *(f"{number:>9}" for number in numbers)]))
    return "\n".join(lines)


def results() -> Iterator[tuple[str, str, str]]:
    """Yield file, mutant and status from the results that mutmut wrote to `mutants/`."""
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for mutant, exit_code in data.exit_code_by_key.items():
            yield str(path), mutant, "crashed" if exit_code == CRASHED else status_by_exit_code[exit_code]


@click.command()
@click.argument("names", nargs=-1)
@click.option("--max-children", type=click.IntRange(min=1), help="Mutants at once; default: one a core.")
def main(names: Sequence[str], max_children: int | None) -> None:
    """Make the mutants, test them, and print the counts and every survivor that is not explained."""
    os.chdir(ROOT)  # mutmut looks for pyproject.toml and mutants/ in the current folder
    shutil.rmtree("mutants", ignore_errors=True)  # mutmut keeps old results even if the tests have changed
    command = [str(Path(sys.executable).with_name("mutmut")), "run", *names]
    if max_children:
        command += ["--max-children", str(max_children)]
    if failed := subprocess.run(command, check=False).returncode:  # noqa: S603 - mutmut, and what the caller gave
        sys.exit(failed)
    statuses: dict[str, Counter[str]] = {}
    survivors = []
    for file, mutant, status in results():
        statuses.setdefault(file, Counter())[status] += 1
        if status not in NOTICED | {LEFT_OUT}:
            survivors.append(Change.of_text(function_of(mutant), get_diff_for_mutant(mutant, path=file)))
    click.echo(f"\n{table(statuses)}")
    unexplained, stale = judge(survivors, explained(EXPLAINED.read_text("utf-8")))
    for change in unexplained:
        click.echo(f"\nIt survived without a reason in {EXPLAINED.name}: {change}")
    if names:
        sys.exit(bool(unexplained))
    if any(counts[LEFT_OUT] for counts in statuses.values()):
        sys.exit("The run was stopped before its end.")
    for change in stale:
        click.echo(f"\nIt is listed in {EXPLAINED.name}, but a test fails for it: {change}")
    sys.exit(bool(unexplained or stale))


if __name__ == "__main__":
    main()
