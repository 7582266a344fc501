"""The only reader and writer of batches."""

from hardmine.view.container import Path
from hardmine.view.view import View

__all__ = ["Path", "View"]
