"""The user's data with mining around it: what happens between the loader and the training step."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.utils.data import Dataset

from hardmine.adapters.callback import HardMining
from hardmine.adapters.loaded import Loaded, opened, wrapped
from hardmine.adapters.updates import Updates
from hardmine.errors import InputError
from hardmine.process import MiningProcess
from hardmine.records import Recipe
from hardmine.rng import global_state_kept, state_kept

if TYPE_CHECKING:
    from hardmine.mining import Mining

_HOOKS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
_LOADERS = ("val_dataloader", "test_dataloader", "predict_dataloader")


class Loaders(L.LightningDataModule):
    """Loaders that were given without a DataModule.

    Args:
        train: of training, as `Trainer.fit` takes them.
        val: of validation.
    """

    def __init__(self, train: Any, val: Any = None) -> None:
        super().__init__()
        self.train = train
        if val is not None:
            self.val_dataloader = partial(_same, val)  # type: ignore[method-assign]

    def train_dataloader(self) -> Any:
        return self.train


def _same(loaders: Any) -> Any:
    return loaders


class MiningDataModule(L.LightningDataModule):
    """Hands everything on to the DataModule inside; training batches are mined before the user's hooks see them.

    Args:
        mining: the search.
        data: a DataModule, a loader, or several loaders.
        val: validation loaders beside training loaders.

    Raises:
        InputError: `val` beside a DataModule, or no data that a trainer takes.
    """

    def __init__(self, mining: "Mining", data: Any, val: Any = None) -> None:
        super().__init__()
        if data is None or isinstance(data, Dataset | str):
            raise InputError(f"around: give a DataModule or loaders, got {type(data).__name__}: DataLoader(dataset)")
        if isinstance(data, L.LightningDataModule) and val is not None:
            raise InputError("around: a DataModule has its own validation loaders: give val with loaders alone")
        if isinstance(data, MiningDataModule):
            raise InputError("around: this data is mined already: call around once")
        self.mining = mining
        self.inner = data if isinstance(data, L.LightningDataModule) else Loaders(data, val)
        for name in _LOADERS:
            own = getattr(self.inner, name)
            if getattr(own, "__func__", None) is not getattr(L.LightningDataModule, name):
                self.__dict__[name] = own  # only where there is one: Lightning asks
        for name in ("prepare_data_per_node", "allow_zero_length_dataloader_with_multiple_devices"):
            self.__dict__[name] = getattr(self.inner, name)
        # checkpoints and loggers keep the user's hyperparameters
        self.__dict__.update({name: value for name, value in vars(self.inner).items() if "hparams" in name})
        self.__dict__["_log_hyperparams"] = getattr(self.inner, "_log_hyperparams", False)

    def __getattr__(self, name: str) -> Any:
        """What the user's code asks `trainer.datamodule` for, and tuners change there, is the user's."""
        if name == "inner":
            raise AttributeError(name)  # not there yet
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        known = name in self.__dict__ or hasattr(type(self), name) or "inner" not in self.__dict__
        if known or not hasattr(self.inner, name):
            super().__setattr__(name, value)
        else:
            setattr(self.inner, name, value)

    def prepare_data(self) -> None:
        self.inner.trainer = self.trainer
        self.inner.prepare_data()

    def setup(self, stage: str) -> None:
        # the hooks here call those that Lightning would have chosen
        warnings.filterwarnings("ignore", message="You have overridden `.*` in")
        self.inner.trainer = self.trainer
        self.inner.setup(stage)

    def teardown(self, stage: str) -> None:
        self.inner.teardown(stage)

    def on_exception(self, exception: BaseException) -> None:
        self.inner.on_exception(exception)

    def keep(self, checkpoint: dict[str, Any]) -> None:
        """Put the state of the user's DataModule where its own runs look for it."""
        state = self.inner.state_dict()
        if state:
            checkpoint[type(self.inner).__qualname__] = state

    def go_on(self, checkpoint: dict[str, Any]) -> None:
        """Take that state up, of a run that was mined or not."""
        if type(self.inner).__qualname__ in checkpoint:
            self.inner.load_state_dict(checkpoint[type(self.inner).__qualname__])

    def train_dataloader(self) -> Any:
        """The user's loaders, as they are; only their collate functions are wrapped."""
        loaders = self.inner.train_dataloader()
        if self.mining.update.every:
            return Updates(self.mining, loaders, self._process, self._end)
        return wrapped(loaders)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """In training the batch is moved to the device and mined, then the user's hooks go their way."""
        trainer = self.trainer
        batch, closed = opened(batch)
        assert trainer is not None
        if closed or trainer.training:
            if trainer.training and self._mined_here(trainer):
                batch = move_data_to_device(batch, trainer.strategy.root_device)
                batch = self._mined(batch, closed, dataloader_idx)
            batch = trainer.precision_plugin.convert_input(batch)
        return self._hook(0)(batch, dataloader_idx)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return self._hook(1)(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return self._hook(2)(batch, dataloader_idx)

    def _hook(self, number: int) -> Any:
        """The hook that Lightning would have called: the DataModule's where it has one, else the module's."""
        name = _HOOKS[number]
        assert self.trainer is not None
        if is_overridden(name, self.inner, parent=L.LightningDataModule):
            return getattr(self.inner, name)
        return getattr(self.trainer.lightning_module, name)

    def _mined_here(self, trainer: L.Trainer) -> bool:
        """Whether this trainer mines; Lightning's tuners take all callbacks away for a while.

        Raises:
            InputError: nothing would judge what is made.
        """
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        if any(isinstance(each, HardMining) and each.mining is self.mining for each in callbacks):
            return True
        if self.mining.followed_by is trainer:
            return False
        raise InputError(
            "the trainer has no callback of this Mining, so that nothing would be judged: give "
            "Trainer(callbacks=[mining.callback()])"
        )

    def _hooks(self, dataloader_idx: int) -> Callable[[Any], Any]:
        """What Lightning does to a batch, for candidates; the random state is kept."""
        trainer = self.trainer
        assert trainer is not None

        def hooks(offered: Any) -> Any:
            offered = trainer.precision_plugin.convert_input(offered)
            with global_state_kept(), state_kept(self.inner, trainer.lightning_module):
                offered = self._hook(0)(offered, dataloader_idx)
                offered = self._hook(1)(offered, trainer.strategy.root_device, dataloader_idx)
                return self._hook(2)(offered, dataloader_idx)

        return hooks

    def _process(self, load: Callable[[Recipe], Loaded]) -> MiningProcess:
        """Of a search between two updates."""
        trainer = self.trainer
        assert trainer is not None
        self._mined_here(trainer)

        def moved(rows: Recipe) -> Any:
            return move_data_to_device(load(rows).batch, trainer.strategy.root_device)

        context = trainer.precision_plugin.forward_context
        return MiningProcess(self.mining, moved, trainer.lightning_module, context, self._hooks(0))

    def _end(self) -> None:
        assert self.trainer is not None
        self.trainer.should_stop = True

    def _mined(self, batch: Any, closed: Any, dataloader_idx: int) -> Any:
        mining = self.mining
        if mining.view.absent(batch):
            return batch
        numbered = [(path, one.index, one.draw) for path, one in closed if one.index is not None]
        scenes = mining.read(batch, numbered)
        plan = mining.plan(scenes, next((one.rows for _, one in closed), None))
        made = mining.make(scenes, plan)
        mining.offer(scenes, mining.propose(plan), self._hooks(dataloader_idx))
        return mining.view.write(batch, scenes, made)
