"""Which precision the hardware gains from."""

from typing import Literal

import torch


def auto_precision(accelerator: str = "auto") -> Literal["bf16-mixed", "32-true"]:
    """bf16-mixed on a GPU with bf16 and on a CPU with bf16 instructions (AVX512-BF16, AMX), else 32-true."""
    if torch.cuda.is_available() and accelerator in ("auto", "gpu", "cuda"):
        gains = torch.cuda.is_bf16_supported(including_emulation=False)
    elif not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        gains = False
    else:
        gains = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return "bf16-mixed" if gains else "32-true"
