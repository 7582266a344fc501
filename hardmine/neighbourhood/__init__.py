"""Neighbourhood policies: how the parameter that was hard leads to the next one (R28, R30-R32, R35-R40)."""

from hardmine.neighbourhood.adjacent_cell import AdjacentCell
from hardmine.neighbourhood.associated_cell import AssociatedCell
from hardmine.neighbourhood.auto import Auto
from hardmine.neighbourhood.base import Neighbourhood
from hardmine.neighbourhood.blend import Blend
from hardmine.neighbourhood.cells import Cells
from hardmine.neighbourhood.generate import Generate
from hardmine.neighbourhood.random import Random
from hardmine.neighbourhood.reach import Channels, Reach
from hardmine.neighbourhood.same_cell import SameCell
from hardmine.neighbourhood.select import Select
from hardmine.neighbourhood.stored import Stored

__all__ = [
    "AdjacentCell",
    "AssociatedCell",
    "Auto",
    "Blend",
    "Cells",
    "Channels",
    "Generate",
    "Neighbourhood",
    "Random",
    "Reach",
    "SameCell",
    "Select",
    "Stored",
]
