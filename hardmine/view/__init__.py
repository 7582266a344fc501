"""The only reader and writer of batches."""

from hardmine.view.container import Path
from hardmine.view.view import UNUSED, View

__all__ = ["UNUSED", "Path", "View"]
