"""Pixels in bulk: colour spaces, statistics of regions, and the affine map of each region."""
