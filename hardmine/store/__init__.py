"""Parameters in advance: what is stored of target images, and the environments they were taken in."""

from hardmine.store.environment import EnvironmentTable
from hardmine.store.store import ParameterStore

__all__ = ["EnvironmentTable", "ParameterStore"]
