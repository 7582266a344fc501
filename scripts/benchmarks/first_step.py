"""A callback that ends a run at its first step, and says what it has cost."""

import os
import time
from typing import Any

from lightning import Callback


class First(Callback):
    """Prints the seconds of CPU that the process has taken, and leaves it."""

    def on_train_batch_start(self, *_: Any) -> None:
        print("CPU", time.process_time(), flush=True)
        os._exit(0)
