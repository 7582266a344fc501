"""The table at the end of a run: each environment before and after."""

import re
from collections.abc import Mapping
from math import isnan, nan

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

_WIDEST = 1000  # letters of a line
_LONGEST = 24  # letters of a word that is kept whole where the terminal has no room


def print_table(console: Console, table: Table) -> None:
    """A table with its title and caption above and below it, whole.

    Rich breaks these at the width of the columns, and cuts columns off that a terminal has no room for. Here a table is
    as wide as it must be to keep words whole, and columns with the shortest cells get the room that there is first.
    """
    title, caption, table.title, table.caption = table.title, table.caption, None, None
    if title:
        console.print(Text(str(title), style="italic"), soft_wrap=True)
    own, (_, right, _, left) = console.width, table.padding
    least, most = zip(*(_widths(console, column) for column in table.columns), strict=True)
    between = len(least) * (left + right + (table.box is not None)) + 1
    console.width = max(own, sum(least) + between)
    room = console.width - sum(least) - between
    by_need = sorted(range(len(least)), key=lambda of: most[of] - least[of])
    for waiting, of in zip(range(len(least), 0, -1), by_need, strict=True):
        more = min(most[of] - least[of], room // waiting)
        table.columns[of].width = least[of] + more
        room -= more
    console.print(table)
    console.width = own
    if caption:
        console.print(Text(str(caption), style="dim italic"), soft_wrap=True)


def _widths(console: Console, column: Column) -> tuple[int, int]:
    """With whole words, and with whole cells."""
    options = console.options.update(max_width=_WIDEST)
    cells = [Measurement.get(console, options, cell) for cell in (column.header, *column.cells)]
    most = max(cell.maximum for cell in cells)
    least = most if column.no_wrap else max(min(cell.minimum, _LONGEST) for cell in cells)
    return max(least, column.min_width or 1), max(most, column.min_width or 1)


class Name:
    """A path or another long name in a table: lines end after a sign, and within a word only where it has no room.

    Args:
        text: without signs that a terminal would act on.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = re.findall(r"[^/_. -]+[/_. -]*|[/_. -]+", text)

    @property
    def longest(self) -> int:
        """Letters of its longest word."""
        return max(map(cell_len, self.words), default=0)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self.longest, cell_len(self.text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [""]
        for word in self.words:
            if lines[-1] and cell_len(lines[-1] + word.rstrip()) > options.max_width:
                lines.append("")
            lines[-1] += word
        yield Text("\n".join(line.rstrip() for line in lines), overflow="fold")


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
        table.add_row(row[0], Name(row[1]), *row[2:], style="bold" if whole else None, end_section=whole)
    return table


def environment_rows(
    before: Mapping[str, float], after: Mapping[str, float], metric: str = "miou"
) -> list[tuple[str, ...]]:
    """Headings, and the rows of `environment_table`; the last one of a split is all of it. NaN is left empty."""
    rows: list[tuple[str, ...]] = [("split", "environment", "before", "after", "change")]
    for split in ("val", "test"):
        whole = f"{split}/{metric}"
        for key in sorted((key for key in after if key.startswith(whole)), key=lambda key: (key == whole, key)):
            old, new = before.get(key, nan), after[key]
            rows.append(
                (
                    split,
                    key.removeprefix(whole).lstrip("/") or "all",
                    *("" if isnan(value) else f"{value * 100:.1f}" for value in (old, new)),
                    "" if isnan(new - old) else f"{(new - old) * 100:+.1f}",
                )
            )
    return rows
