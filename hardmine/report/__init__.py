"""What a run shows when it is over, and what is found in its folder later."""
