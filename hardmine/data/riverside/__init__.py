"""`data=riverside`: generated scenes under time x weather light, no download (the patent's FIG. 3)."""

from hardmine.data.riverside.images import RiversideData, RiversideImages

__all__ = ["RiversideData", "RiversideImages"]
