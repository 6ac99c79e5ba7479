"""`resurface`, where accelerate lets torch's FSDP work on a CPU.

accelerate takes FSDP up on GPUs and the like alone and passes over it on a CPU, where torch itself shards by
gloo as it does there. What is changed is that decision; the sharding, gathering and checkpoints are theirs.
"""

from __future__ import annotations

import sys
from typing import Any

from accelerate import state

_real = state.AcceleratorState.__init__


def _init(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
    _real(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fsdp_plugin is not None and self.distributed_type == state.DistributedType.MULTI_CPU:
        self.distributed_type = state.DistributedType.FSDP
        self.fsdp_plugin = fsdp_plugin
        state.PartialState._shared_state["distributed_type"] = self.distributed_type


state.AcceleratorState.__init__ = _init

if __name__ == "__main__":
    from resurface.cli.main import main

    sys.exit(main(sys.argv[1:]))
