"""What is in a data set, as tables."""

from rich.table import Table

from hardmine.data.survey import Survey
from hardmine.report.listing import plain

_EACH = {"masks": "share of pixels in %", "classes": "share of images in %", "boxes": "share of boxes in %"}
_SIZES = 6  # that are shown


def tables(survey: Survey) -> list[Table]:
    """Images of each split and environment, classes with their shares, sizes."""
    return [_environments(survey), _classes(survey), _sizes(survey)]


def _environments(survey: Survey) -> Table:
    table = Table(title=f"images (labels: {survey.kind}, areas: {len(survey.areas)})")
    names = list(dict.fromkeys(name for counted in survey.environments.values() for name in counted))
    table.add_column("environment", overflow="fold")
    for split in survey.environments:
        table.add_column(split, justify="right")
    for name in names:
        table.add_row(plain(name), *(str(counted[name] or "") for counted in survey.environments.values()))
    if len(names) > 1:
        table.add_section()
        table.add_row("all", *(str(counted.total()) for counted in survey.environments.values()), style="bold")
    return table


def _classes(survey: Survey) -> Table:
    table = Table(title=f"classes, {_EACH[survey.kind]} (in so many images)")
    table.add_column("class", overflow="fold")
    for split in survey.shares:
        table.add_column(split, justify="right")
    for label, name in enumerate(survey.classes):
        cells = [
            f"{survey.shares[split][label] * 100:.1f} ({survey.seen[split][label]})"
            if survey.seen[split][label]
            else ""
            for split in survey.shares
        ]
        table.add_row(plain(name), *cells)
    if any(survey.void.values()):
        table.add_section()
        table.add_row("void, of all", *(f"{share * 100:.1f}" for share in survey.void.values()))
    return table


def _sizes(survey: Survey) -> Table:
    table = Table(title="sizes, width x height in pixels")
    table.add_column("size")
    table.add_column("images", justify="right")
    for (height, width), count in survey.sizes.most_common(_SIZES):
        table.add_row(f"{width} x {height}", str(count))
    if more := survey.sizes.most_common()[_SIZES:]:
        table.add_row(f"{len(more)} more", str(sum(count for _, count in more)))
    return table
