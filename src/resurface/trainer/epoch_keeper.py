"""Which epochs' models a training keeps, and their writing while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resurface import artifacts
from resurface.errors import UserError
from resurface.models.saved import Saved, read_saved
from resurface.trainer import epoch_models, resume_points

if TYPE_CHECKING:
    from resurface.trainer.config import TrainConfig


def due(epoch: int, cfg: TrainConfig) -> bool:
    """Whether the model of this epoch is kept."""
    return epoch == cfg.epochs or epoch % cfg.checkpoint_every == 0


class EpochKeeper:
    """Writes the models of the epochs that are due; every rank has to take part, rank 0 writes."""

    def __init__(
        self, b: artifacts.Build, cfg: TrainConfig, tokenizer: Any, base: epoch_models.Base,
        digests: dict[str, resume_points.Digest],
    ) -> None:  # fmt: skip
        self.build, self.cfg, self.tokenizer, self.base = b, cfg, tokenizer, base
        self.digests = digests
        """Folder name -> its files, of every epoch kept so far."""
        self.start: dict[str, int] = {}
        """Checksums of the weights before the first step."""
        self.last = 0

    @property
    def saved(self) -> dict[int, Saved]:
        """How each epoch was stored, as its folder says."""
        return {int(n.split("-")[1]): read_saved(self.build.path / n) for n in self.digests}

    def keep(self, epoch: int, trainer: Any) -> None:
        """Raises UserError if training has moved no weight so far."""
        if not due(epoch, self.cfg) or epoch == self.last:
            return
        self.last = epoch
        # gathers shards (FSDP, ZeRO-3)
        whole = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if not trainer.is_world_process_zero():
            return
        now = epoch_models.checksums({k: whole[k] for k in self.start if k in whole})
        if now and all(now[k] == self.start[k] for k in now):
            raise UserError(
                f"after epoch {epoch} every weight is the base's: learning rates up to "
                f"{self.cfg.learning_rate:g} are too small to move one",
                remedy="raise train.learning_rate",
            )
        folder = self.build.path / f"epoch-{epoch}"
        epoch_models.save(folder, trainer.model, whole, self.tokenizer, self.base, self.cfg.save_dtype, epoch)
        self.digests[folder.name] = resume_points.Digest.of(folder)
        self.build.save_state()
