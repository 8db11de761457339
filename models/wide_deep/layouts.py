"""How Wide & Deep lies on a mesh: tables in parts, samples too, and the MLP, which is small, on every device."""

from __future__ import annotations

from troupe.recipes import Recipe, table_parallel


def row_tables(axis: str = "tp") -> Recipe:
    """A device holds some rows of every table and looks them up for all samples."""
    return table_parallel(axis, "row")


def column_tables(axis: str = "tp") -> Recipe:
    """A device holds some columns of every table, and rows of the linear model's, which has one column."""
    return table_parallel(axis, "column")
