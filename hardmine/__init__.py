"""Finds, during training, the colour environments a vision model fails in, and trains on them.

The names below are the library; each is imported when first asked for, so that the core works without Lightning.
"""

from typing import TYPE_CHECKING

__version__ = "0.2.0"

if TYPE_CHECKING:  # what a type checker and an editor see
    from hardmine.adapters import HardMining as HardMining, MiningDataModule as MiningDataModule
    from hardmine.audits import Audit as Audit, audit as audit
    from hardmine.candidates import Candidates as Candidates
    from hardmine.conversions import (
        AffineObject as AffineObject,
        Chain as Chain,
        ColorTransfer as ColorTransfer,
        Outline as Outline,
        Reframe as Reframe,
        Sharpen as Sharpen,
        Smooth as Smooth,
    )
    from hardmine.errors import InputError as InputError
    from hardmine.first import Enumeration as Enumeration, Exhaustive as Exhaustive, First as First
    from hardmine.judge import Judge as Judge
    from hardmine.judge.gates import Gain as Gain, Gamut as Gamut, Teacher as Teacher
    from hardmine.judge.scoring import (
        ClassRate as ClassRate,
        Confidence as Confidence,
        CorrectRate as CorrectRate,
        PixelRate as PixelRate,
        Reliability as Reliability,
    )
    from hardmine.memory.buffer import RecipeBuffer as RecipeBuffer
    from hardmine.memory.ledger import Ledger as Ledger
    from hardmine.memory.stopping import Stopping as Stopping
    from hardmine.miner import Miner as Miner
    from hardmine.mining import Mining as Mining
    from hardmine.neighbourhood import (
        AdjacentCell as AdjacentCell,
        AssociatedCell as AssociatedCell,
        Auto as Auto,
        Blend as Blend,
        Generate as Generate,
        Random as Random,
        SameCell as SameCell,
        Select as Select,
    )
    from hardmine.numbered import Numbered as Numbered
    from hardmine.plan import Mix as Mix, Plan as Plan
    from hardmine.records import Recipe as Recipe
    from hardmine.runs import RunFolder as RunFolder
    from hardmine.scenes import Scenes as Scenes
    from hardmine.search import Search as Search, Steps as Steps
    from hardmine.store import ParameterStore as ParameterStore
    from hardmine.store.environment import EnvironmentTable as EnvironmentTable
    from hardmine.update import Update as Update
    from hardmine.view import View as View
else:
    from importlib import import_module

    _HOMES = {
        "hardmine.adapters": (
            "HardMining",
            "MiningDataModule",
        ),
        "hardmine.audits": (
            "Audit",
            "audit",
        ),
        "hardmine.candidates": ("Candidates",),
        "hardmine.conversions": (
            "AffineObject",
            "Chain",
            "ColorTransfer",
            "Outline",
            "Reframe",
            "Sharpen",
            "Smooth",
        ),
        "hardmine.errors": ("InputError",),
        "hardmine.first": (
            "Enumeration",
            "Exhaustive",
            "First",
        ),
        "hardmine.judge": ("Judge",),
        "hardmine.judge.gates": (
            "Gain",
            "Gamut",
            "Teacher",
        ),
        "hardmine.judge.scoring": (
            "ClassRate",
            "Confidence",
            "CorrectRate",
            "PixelRate",
            "Reliability",
        ),
        "hardmine.memory.buffer": ("RecipeBuffer",),
        "hardmine.memory.ledger": ("Ledger",),
        "hardmine.memory.stopping": ("Stopping",),
        "hardmine.miner": ("Miner",),
        "hardmine.mining": ("Mining",),
        "hardmine.neighbourhood": (
            "AdjacentCell",
            "AssociatedCell",
            "Auto",
            "Blend",
            "Generate",
            "Random",
            "SameCell",
            "Select",
        ),
        "hardmine.numbered": ("Numbered",),
        "hardmine.plan": ("Mix", "Plan"),
        "hardmine.records": ("Recipe",),
        "hardmine.runs": ("RunFolder",),
        "hardmine.scenes": ("Scenes",),
        "hardmine.search": ("Search", "Steps"),
        "hardmine.store": ("ParameterStore",),
        "hardmine.store.environment": ("EnvironmentTable",),
        "hardmine.update": ("Update",),
        "hardmine.view": ("View",),
    }
    _HOME = {name: home for home, names in _HOMES.items() for name in names}
    __all__ = sorted(_HOME)

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'hardmine' has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)

    def __dir__() -> list[str]:
        return [*globals(), *__all__]
