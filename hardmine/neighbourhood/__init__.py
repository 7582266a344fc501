"""Neighbourhood policies: how the parameter that was hard leads to the next one (R28, R35-R40)."""

from hardmine.neighbourhood.auto import Auto
from hardmine.neighbourhood.base import Channels, Neighbourhood
from hardmine.neighbourhood.first import First
from hardmine.neighbourhood.generate import Generate
from hardmine.neighbourhood.random import Random
from hardmine.neighbourhood.select import Select

__all__ = ["Auto", "Channels", "First", "Generate", "Neighbourhood", "Random", "Select"]
