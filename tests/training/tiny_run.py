"""A tiny network and generated faces, for tests of training runs."""

from dataclasses import replace

import numpy as np
from PIL import Image

from training.config import read_config
from training.tasks import load_data
from training.train import Run

EPOCHS = 16


CONFIG = """
name = "tiny"
net = "custom_net"
classes = 8
input_size = 48
minutes = 10
epochs = {epochs}
batch_size = 8
learning_rate = 3e-3
betas = [0.9, 0.99]
weight_decay = 0.05
warmup_epochs = 1
ema_decay = 0.9
seed = 3
[net_options]
widths = [8, 8, 16, 32]
depths = [2, 1, 1, 1]
[export]
"models/tiny" = "fp32"
"models/tiny_int8" = "qat int8"
[card]
version = "0.0.1"
crop_scale = 1.0
machine = "a test"
licence = "none"
intended_use = "tests"
out_of_scope = "all else"
limits = "generated faces"
"""


def write_faces(folder, count, seed):
    """Write noisy faces: bright above dark is happiness, dark above bright is sadness."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    lines = []
    for index in range(count):
        happy = index % 2 == 0
        gray = generator.integers(0, 60, (48, 48))
        gray[: 24 if happy else 48, :] += 90
        gray[: 0 if happy else 24, :] -= 90
        name = f"{index:04}.png"
        Image.fromarray(np.clip(gray, 0, 255).astype(np.uint8)).save(folder / name)
        votes = [0, 10, 0, 0, 0, 0, 0, 0, 0, 0] if happy else [0, 0, 0, 10, 0, 0, 0, 0, 0, 0]
        lines.append(f'{name},"(0, 0, 48, 48)",{",".join(map(str, votes))}')
    (folder / "label.csv").write_text("\n".join(lines))


def write_workplace(folder):
    """Write generated faces and the configuration of the tiny network."""
    write_faces(folder / "data" / "ferplus" / "FER2013Train", 64, seed=1)
    write_faces(folder / "data" / "ferplus" / "FER2013Valid", 32, seed=2)
    (folder / "tiny.toml").write_text(CONFIG.format(epochs=EPOCHS))


def make_run(workplace, **changes):
    config = replace(read_config(workplace / "tiny.toml"), **changes)
    return Run(config, load_data(workplace / "data", config), workplace / "runs" / config.name)
