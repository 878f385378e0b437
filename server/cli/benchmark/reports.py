"""What a run leaves behind: Markdown, JSON and a chart."""

from pathlib import Path

from server.cli.benchmark.chart import write_chart
from server.cli.benchmark.record import Record
from server.cli.benchmark.tables import as_markdown


def write_report(record: Record, folder: Path) -> tuple[str, list[Path]]:
    """Write a record's files; return its Markdown and what was written. No entry measured: no chart."""
    folder.mkdir(parents=True, exist_ok=True)
    text = as_markdown(record)
    files = [folder / "benchmark.md", folder / "benchmark.json"]
    files[0].write_text(text + "\n", "utf-8")
    files[1].write_text(record.to_json(), "utf-8")
    if any(row.measured for row in record.entries):
        files += write_chart(record, folder)
    return text, files
