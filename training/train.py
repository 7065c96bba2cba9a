"""Train a network on the CPU or a GPU. An interrupted run can be resumed.

    python -m training.train training/configs/custom_net_8.toml --data ../shared/data
    python -m training.train …                 # the same command resumes an interrupted run
    python -m training.train … --device cuda   # the default if there is a GPU

Writes checkpoint.pt (weights, their running average, optimiser, random state and history), log.csv
and curve.png to runs/<name>/. training.export exports the run.
"""

import argparse
import csv
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import Tensor
from tqdm import tqdm

from app.errors import ModelUnavailable
from training.config import Config, TrainingError, read_config
from training.data import DataError
from training.data.photos import PhotosError
from training.devices import AUTO, choose_device
from training.protocols import TrainingData
from training.runs import (
    CHECKPOINT,
    RUNS,
    build_net,
    load_averaged,
    load_pretrained,
    read_checkpoint,
)
from training.tasks import load_data

CPU = torch.device("cpu")


class Run:
    """A training run. A checkpoint contains the result of `state`.

    The initial weights follow the configuration. `resume` continues from the checkpoint in
    `folder`, if there is one.
    """

    def __init__(
        self, config: Config, data: TrainingData, folder: Path, device: torch.device = CPU
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.folder, self.device = config, folder, device
        self.data = data.to(device)
        self.net = build_net(config).to(device, memory_format=torch.channels_last)
        self.checkpoint = folder / CHECKPOINT
        if config.start and not self.checkpoint.exists():
            load_averaged(self.net, read_checkpoint(RUNS / config.start / CHECKPOINT))
        if config.pretrained and not self.checkpoint.exists():
            load_pretrained(self.net, RUNS / config.pretrained)
        self.average = torch.optim.swa_utils.AveragedModel(
            self.net,
            multi_avg_fn=self._running_average,
            use_buffers=True,
        )
        with_decay = [p for p in self.net.parameters() if p.ndim > 1]
        without_decay = [p for p in self.net.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": with_decay, "weight_decay": config.weight_decay},
                {"params": without_decay},
            ],
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=0.0,
            fused=True,  # a step of vgg13 takes 8 ms; 124 ms if not fused
        )
        self.generator = torch.Generator(device).manual_seed(config.seed)
        self.epoch = 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []

    def progress(self, epoch: float) -> float:
        """Return the completed share of the schedule: of epochs or time, whichever is larger."""
        return max(epoch / self.config.epochs, self.seconds / (60 * self.config.minutes))

    def state(self) -> dict[str, Any]:
        return {
            "config": asdict(self.config),
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "device": self.device.type,
            "generator": self.generator.get_state(),
            "torch_random": torch.get_rng_state(),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "history": self.history,
        }

    def save(self) -> None:
        """Write checkpoint, log and curve. If it is interrupted, the last checkpoint stays
        valid."""
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.state(), self.checkpoint.with_suffix(".tmp"))
        self.checkpoint.with_suffix(".tmp").replace(self.checkpoint)
        with (self.folder / "log.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, self.history[0].keys())
            writer.writeheader()
            writer.writerows(self.history)
        plot_curve(self.history, self.data, self.folder / "curve.png", self.config.name)

    def resume(self) -> bool:
        """Continue from the checkpoint. Return False if there is none. Raises TrainingError if the
        checkpoint has other settings."""
        if not self.checkpoint.exists():
            return False
        state = read_checkpoint(self.checkpoint)
        if Config(**state["config"]) != self.config:
            raise TrainingError(f"{self.checkpoint} has other settings; move it to start a new run")
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state.get("device", "cpu") == self.device.type:
            self.generator.set_state(state["generator"])
        else:  # the states of generators differ between devices
            self.generator.manual_seed(self.config.seed + state["epoch"])
        torch.set_rng_state(state["torch_random"])
        self.epoch, self.seconds = state["epoch"], state["seconds"]
        self.history = state["history"]
        return True

    def train_epoch(self, started: float) -> float:
        """Train one epoch, or until the schedule ends. Return the mean loss.

        `started` is the time at which `seconds` was 0.
        """
        self.net.train()
        steps = self.data.steps
        batches = tqdm(
            self.data.batches(self),
            desc=f"epoch {self.epoch + 1}",
            total=steps,
            leave=False,
            disable=None,
        )
        losses = []
        for step, batch in enumerate(batches):
            epoch = self.epoch + step / steps
            self._set_learning_rate(epoch)
            remaining = 1 - self.progress(epoch)
            if remaining <= 0:  # the time is over, and the learning rate is 0
                break
            loss = self.data.loss(self, batch, remaining)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.average.update_parameters(self.net)
            losses.append(loss.detach())
            self.seconds = time.monotonic() - started
        # The losses are read once per epoch, because reading a value stops the GPU.
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise TrainingError("the loss is not finite: lower the learning rate")
        self.epoch += 1
        return mean

    @torch.no_grad()
    def _running_average(
        self, averages: list[Tensor], currents: list[Tensor], _count: Tensor
    ) -> None:
        """Update the exponential moving average of the weights. In step n, the decay is at most
        (1 + n) / (10 + n), which reduces the influence of the initial weights."""
        count = int(self.average.n_averaged)  # is on the CPU, unlike `_count`
        decay = min(self.config.ema_decay, (1 + count) / (10 + count))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, currents, 1 - decay)
        else:
            torch._foreach_copy_(averages, currents)

    def _set_learning_rate(self, epoch: float) -> None:
        """Set the rate: linear warm-up, then half a cosine to 0 at the end of the schedule."""
        warmup = min(1.0, (epoch + 0.01) / self.config.warmup_epochs)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress(epoch))))
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * warmup * cosine

    def fit(self) -> None:
        """Train to the end of the schedule."""
        while self.progress(self.epoch) < 1:
            self.fit_epoch()

    def fit_epoch(self) -> None:
        """Train one epoch. Validate, log and save after every `validate_each` epochs and at the
        end.

        Validation is part of the time of the schedule.
        """
        started = time.monotonic() - self.seconds
        loss = self.train_epoch(started)
        self.seconds = time.monotonic() - started
        if self.epoch % self.config.validate_each and self.progress(self.epoch) < 1:
            return
        row = {"epoch": self.epoch, "minutes": self.seconds / 60, "loss": loss}
        self.average.eval()
        row |= self.data.validate(self)
        self.history.append({key: round(value, 5) for key, value in row.items()})
        print("  ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
        self.save()
        self.seconds = time.monotonic() - started


def plot_curve(history: list[dict[str, float]], data: TrainingData, path: Path, title: str) -> None:
    """Plot the learning curve: the loss on the left axis, validation figures on the right axis."""
    epochs = [row["epoch"] for row in history]
    figure, left = plt.subplots(figsize=(7, 4), layout="constrained")
    left.plot(epochs, [row["loss"] for row in history], color="0.5", label="training loss")
    left.set(xlabel="epoch", ylabel=data.loss_name, title=title)
    right = left.twinx()
    for key, label in data.curves.items():
        right.plot(epochs, [100 * row[key] for row in history], label=label)
    right.set_ylabel("percent")
    right.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--device", default=AUTO, help="cpu, cuda, or auto: cuda if there is a GPU")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        config = read_config(arguments.config)
        data = load_data(arguments.data, config)
        run = Run(config, data, RUNS / config.name, choose_device(arguments.device))
        resumed = run.resume()
        print(
            f"{config.name}: {data.count}, "
            f"{sum(p.numel() for p in run.net.parameters()):,} parameters"
            + (f", resumed after epoch {run.epoch}" if resumed else ""),
            flush=True,
        )
        run.fit()
    except (TrainingError, DataError, PhotosError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
