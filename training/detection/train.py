"""Train a single-shot network on a GPU for a fixed time.

    python -m training.detection.train training/configs/single_shot.toml --out runs/gpu

The `pack` and the `pretrained` weights (training.detection.warm_start) of the configuration are in
runs/. Scenes are composed on the GPU (training.detection.composer). A batch has `batch_size` scenes
and `sheets` sheets. The learning rate depends on the time, and the run ends after `minutes`.

Writes the averaged weights to `<name>.pt` every SAVE_SECONDS and at the end, with matrices in
16-bit floats. Files above PART_BYTES are divided into `<name>.1.pt`, `<name>.2.pt` and so on.
training.detection.results reads them. The log is `train.log`.
"""

import argparse
import copy
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.config import Config, TrainingError, read_config
from training.data.scene_pack import ScenePack
from training.detection.composer import Composer
from training.detection.heads import HEADS, Batch
from training.detection.losses import Losses
from training.detection.pixels import upload
from training.detection.results import AVERAGE, LOG, SNAPSHOT
from training.devices import AUTO, choose_device
from training.runs import RUNS, build_net

FINAL_SHARE = 0.08  # last share of the schedule, in which scenes have no mosaics
EXPRESSION_WEIGHT = 1.0
SNAPSHOT_AT = 0.85  # share of the schedule after which a second copy of the weights is kept
MAX_GRADIENT_NORM = 10.0
SAVE_SECONDS, LOG_SECONDS = 45.0, 5.0
PART_BYTES = 15_000_000


class GpuRun:
    """A training run that ends at `deadline`, a time of time.time()."""

    def __init__(
        self,
        config: Config,
        composer: Composer,
        out: Path,
        *,
        scratch: Path,
        device: torch.device,
        deadline: float,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.name, self.composer, self.out = config, config.name, composer, out
        self.scratch = scratch
        self.device, self.deadline, self.start = device, deadline, time.time()
        self.net = build_net(config)
        if config.pretrained:
            state = torch.load(RUNS / config.pretrained, weights_only=True)
            initial = self.net.state_dict()
            equal = {
                key: value
                for key, value in state.items()
                if key in initial and value.shape == initial[key].shape
            }
            self.net.load_state_dict(initial | equal)
            self.log(f"{len(equal)} of {len(initial)} tensors from {config.pretrained}")
        self.net.to(device)
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        self.generator = torch.Generator(device).manual_seed(config.seed)
        self.autocast: torch.dtype | None = torch.bfloat16
        self.memory_format = torch.channels_last
        self.net.to(memory_format=self.memory_format)
        self.average.to(memory_format=self.memory_format)
        self.scenes, self.sheets = config.batch_size, config.sheets
        self.steps = 0
        self.snapshot: dict[str, Tensor] | None = None

    def log(self, text: str) -> None:
        line = f"{time.time() - self.start:7.1f} {text}"
        print(f"{self.name}: {line}", flush=True)
        with (self.out / LOG).open("a") as file:
            file.write(f"{self.name}: {line}\n")

    @property
    def progress(self) -> float:
        return (time.time() - self.start) / (self.deadline - self.start)

    def tune(self) -> None:
        """Choose the fastest memory format and precision for this GPU."""
        if self.device.type != "cuda":
            return
        batch = self._batch()
        seconds = {}
        for memory in (torch.channels_last, torch.contiguous_format):
            for autocast in (torch.bfloat16, None):
                self.memory_format, self.autocast = memory, autocast
                self.net.to(memory_format=memory)
                formatted = replace(batch, images=batch.images.contiguous(memory_format=memory))
                times = []
                for _ in range(5):
                    torch.cuda.synchronize()
                    start = time.perf_counter()
                    self._loss(formatted).total(1.0).backward()
                    torch.cuda.synchronize()
                    times.append(time.perf_counter() - start)
                seconds[memory, autocast] = min(times[2:])
        self.memory_format, self.autocast = min(seconds, key=lambda each: seconds[each])
        self.net.to(memory_format=self.memory_format)
        self.average.to(memory_format=self.memory_format)
        self.net.load_state_dict(self.average.state_dict())
        self.log(", ".join(f"{m} {a}: {1000 * s:.0f} ms" for (m, a), s in seconds.items()))

    def _batch(self) -> Batch:
        mosaics = self.progress < 1 - FINAL_SHARE
        with torch.no_grad():
            side = self.config.input_size
            batch = self.composer.batch(self.scenes, self.sheets, side, mosaics=mosaics)
            images = batch.images.round().contiguous(memory_format=self.memory_format)
        return replace(batch, images=images)

    def _loss(self, batch: Batch) -> Losses:
        enabled = self.autocast is not None
        with torch.autocast(self.device.type, self.autocast or torch.bfloat16, enabled=enabled):
            weights = self.composer.class_weights
            return HEADS[self.config.net].losses(self.net, batch, weights, self.generator)

    def fit(self) -> None:
        """Train until the deadline."""
        self.net.train()
        with_decay = [p for p in self.net.parameters() if p.ndim > 1]
        without_decay = [p for p in self.net.parameters() if p.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [
                {"params": with_decay, "weight_decay": self.config.weight_decay},
                {"params": without_decay},
            ],
            lr=self.config.learning_rate,
            betas=self.config.betas,
            weight_decay=0.0,
            fused=True,
        )
        parameters = [*with_decay, *without_decay]
        logged = saved = time.time()
        images = 0  # since the last log entry
        start = self.progress
        warm_up = self.config.warmup_epochs / self.config.epochs
        while (progress := self.progress) < 1:
            done = (progress - start) / (1 - start)
            rate = min(1.0, (done + 1e-3) / warm_up) * 0.5 * (1 + math.cos(math.pi * done))
            for group in optimizer.param_groups:
                group["lr"] = self.config.learning_rate * rate
            try:
                losses = self._loss(self._batch())
                optimizer.zero_grad(set_to_none=True)
                losses.total(EXPRESSION_WEIGHT).backward()
            except torch.OutOfMemoryError:
                self._reduce_batch()
                continue
            norm = nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM, foreach=True)
            if not bool(norm.isfinite()):
                self.log("skipped a step: the gradient is not finite")
                continue
            optimizer.step()
            self._update_average()
            self.steps += 1
            images += self.scenes + self.sheets
            now = time.time()
            if now - logged >= LOG_SECONDS or self.steps in (1, 10):
                values = (losses.objectness, losses.box, losses.expression)
                each = " ".join(f"{value.item():.3f}" for value in values)
                speed = images / max(now - logged, 1e-3)
                self.log(f"{100 * progress:.0f} % step {self.steps} losses {each} {speed:.0f}/s")
                logged, images = now, 0
            if self.snapshot is None and progress > SNAPSHOT_AT:
                self.snapshot = self._weights()
            if now - saved >= SAVE_SECONDS:
                self.save()
                saved = time.time()
        self.save()
        self.log(f"finished after {self.steps} steps")

    def _reduce_batch(self) -> None:
        torch.cuda.empty_cache()
        self.scenes, self.sheets = max(8, self.scenes * 2 // 3), max(1, self.sheets * 2 // 3)
        self.log(f"out of memory: {self.scenes} scenes and {self.sheets} sheets from now on")

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(
            [p.data for p in self.average.parameters()],
            [p.data for p in self.net.parameters()],
            1 - decay,
        )
        buffers = zip(self.average.buffers(), self.net.buffers(), strict=True)
        pairs = [(average, new) for average, new in buffers if average.is_floating_point()]
        averages, new = [average for average, _ in pairs], [new for _, new in pairs]
        torch._foreach_lerp_(averages, new, 1 - decay)

    def _weights(self) -> dict[str, Tensor]:
        return {
            key: (value.half() if value.ndim > 1 else value).cpu().contiguous()
            for key, value in self.average.state_dict().items()
        }

    def save(self) -> None:
        """Write the averaged weights, divided into files of at most PART_BYTES."""
        state: dict[str, Any] = {
            "net": self.config.net,
            "steps": self.steps,
            AVERAGE: self._weights(),
        }
        if self.snapshot is not None and self.config.net == "single_shot":
            state[SNAPSHOT] = self.snapshot
        parts, size = [dict[str, Tensor]()], 0
        for key, value in state[AVERAGE].items():
            value_bytes = value.numel() * value.element_size()
            if size + value_bytes > PART_BYTES:
                parts.append({})
                size = 0
            size += value_bytes
            parts[-1][key] = value
        for number, part in enumerate(parts):
            name = self.name if len(parts) == 1 else f"{self.name}.{number + 1}"
            temporary = self.scratch / f"{name}.tmp"
            torch.save(state | {AVERAGE: part, "parts": len(parts)}, temporary)
            temporary.replace(self.out / f"{name}.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, help="folder for incomplete files; default: --out")
    parser.add_argument(
        "--deadline", type=float, help="seconds since 1970; default: by the configuration"
    )
    parser.add_argument("--device", default=AUTO)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    try:
        config, device = read_config(arguments.config), choose_device(arguments.device)
        pack = ScenePack.load(RUNS / config.pack)
    except (TrainingError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    deadline = arguments.deadline or time.time() + 60 * config.minutes
    for folder in (arguments.out, arguments.scratch or arguments.out):
        folder.mkdir(parents=True, exist_ok=True)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    pixels = upload(pack.images(threads=arguments.threads), device, threads=arguments.threads)
    composer = Composer(pack, pixels, device, config.seed)
    run = GpuRun(
        config,
        composer,
        arguments.out,
        scratch=arguments.scratch or arguments.out,
        device=device,
        deadline=deadline,
    )
    run.log(f"{len(pack.collection)} images, {len(pixels.buffer):,} pixels on {device}")
    run.tune()
    run.fit()


if __name__ == "__main__":
    main()
