"""First parameters: what a search begins with (R12, R17-R19)."""

from hardmine.first.base import FirstParameter
from hardmine.first.enumeration import Enumeration
from hardmine.first.exhaustive import Exhaustive
from hardmine.first.first import First

__all__ = ["Enumeration", "Exhaustive", "First", "FirstParameter"]
