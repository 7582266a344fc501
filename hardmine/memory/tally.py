"""What a search came to, in counts."""

from dataclasses import dataclass


@dataclass
class Tally:
    """Counts of a whole run."""

    candidates: int = 0
    pieces: int = 0
    neighbours: int = 0  # candidates that came from the neighbourhood of a piece
    neighbour_pieces: int = 0
    unscored: int = 0  # their score is no number
    refused: int = 0  # hard, and kept out by a gate

    @property
    def hit_rate(self) -> float:
        """Pieces / candidates; 0 before the first candidate."""
        return self.pieces / max(self.candidates, 1)
