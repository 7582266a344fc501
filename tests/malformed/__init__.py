"""Inputs that are wrong in one place, made from a seed: each is refused in one line, before anything is written."""
