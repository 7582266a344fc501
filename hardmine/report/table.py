"""The table at the end of a run: each environment before and after."""

from collections.abc import Mapping

from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

_WIDEST = 1000  # letters of a line


def print_table(console: Console, table: Table) -> None:
    """A table with its title and caption above and below it, whole.

    Rich breaks these at the width of the columns, and cuts columns off that a terminal has no room for. Here a table is
    as wide as it must be, with a letter or `min_width` for each column whose cells may be broken.
    """
    title, caption, table.title, table.caption = table.title, table.caption, None, None
    if title:
        console.print(Text(str(title), style="italic"), soft_wrap=True)
    own, (_, right, _, left) = console.width, table.padding
    wide = [_width(console, column) if column.no_wrap else column.min_width or 1 for column in table.columns]
    console.width = max(own, sum(wide) + len(wide) * (left + right + (table.box is not None)) + 1)
    console.print(table)
    console.width = own
    if caption:
        console.print(Text(str(caption), style="dim italic"), soft_wrap=True)


def _width(console: Console, column: Column) -> int:
    options = console.options.update(max_width=_WIDEST)
    return max(Measurement.get(console, options, cell).maximum for cell in (column.header, *column.cells))


def environment_table(before: Mapping[str, float], after: Mapping[str, float], metric: str = "miou") -> Table:
    """Environments in which the model was measured when mining started and at the end.

    Args:
        before, after: keys `<split>/<metric>` for the whole split and `<split>/<metric>/<environment>`, values in
            [0, 1].
        metric: which.
    """
    rows = environment_rows(before, after, metric)
    table = Table(title=f"{metric} in %, when mining started and at the end")
    for heading, justify in zip(rows[0], ("left", "left", "right", "right", "right"), strict=True):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for row in rows[1:]:
        whole = row[1] == "all"
        table.add_row(*row, style="bold" if whole else None, end_section=whole)
    return table


def environment_rows(
    before: Mapping[str, float], after: Mapping[str, float], metric: str = "miou"
) -> list[tuple[str, ...]]:
    """Headings, and the rows of `environment_table`; the last one of a split is all of it."""
    rows: list[tuple[str, ...]] = [("split", "environment", "before", "after", "change")]
    for split in ("val", "test"):
        whole = f"{split}/{metric}"
        for key in sorted((key for key in after if key.startswith(whole)), key=lambda key: (key == whole, key)):
            old, new = before.get(key), after[key]
            rows.append(
                (
                    split,
                    key.removeprefix(whole).lstrip("/") or "all",
                    "" if old is None else f"{old * 100:.1f}",
                    f"{new * 100:.1f}",
                    "" if old is None else f"{(new - old) * 100:+.1f}",
                )
            )
    return rows
