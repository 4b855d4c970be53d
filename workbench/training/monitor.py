"""What a training takes of its machine while it runs: CPU, memory, and the GPU where there is one."""

from __future__ import annotations

import contextlib
import os
import resource
import sys

import torch


class Monitor:
    """Looks at this process and its GPU, in about a tenth of a millisecond a look."""

    def __init__(self, device: str) -> None:
        import psutil  # comes with accelerate

        self._process = psutil.Process()
        self._cores = os.cpu_count() or 1
        self._gpu = device if device.startswith("cuda") and torch.cuda.is_available() else None
        self._watched = self._gpu is not None
        self._process.cpu_percent()

    def look(self) -> dict[str, int | float]:
        """The state now, for a row of train.jsonl.

        `memory_mb` is the peak (of the GPU's memory where there is one), `process_mb` what the process holds now
        of main memory, `gpu_mb` what it holds of the GPU's; `cpu_percent` its share of all cores since the last
        look, `gpu_percent` the share of time the GPU worked in its last sampling period.
        """
        seen: dict[str, int | float] = {
            "memory_mb": self._peak(),
            "process_mb": int(self._process.memory_info().rss // 2**20),
            "cpu_percent": round(self._process.cpu_percent() / self._cores, 1),
        }
        if self._gpu is not None:
            seen["gpu_mb"] = int(torch.cuda.memory_allocated(self._gpu) // 2**20)
            seen |= self._use(self._gpu)
        return seen

    def _peak(self) -> int:
        if self._gpu is not None:
            return int(torch.cuda.max_memory_allocated(self._gpu) // 2**20)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(peak // (2**20 if sys.platform == "darwin" else 2**10))

    def _use(self, device: str) -> dict[str, int | float]:
        """Empty where the driver's library for it (NVML) is not installed: that is found out once."""
        if self._watched:
            with contextlib.suppress(ImportError, RuntimeError, OSError):
                return {"gpu_percent": int(torch.cuda.utilization(device))}
            self._watched = False
        return {}
