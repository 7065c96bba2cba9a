"""Settling a folded net on the steps of 8-bit weights (Jacob et al. 2017, arXiv 1712.05877).

The folded identity makes one weight of each filter large; the others share the steps that are left.
A few hundred steps with rounded weights in the forward pass go towards the answers of the net
before. On custom_net_8 they bring the mean difference of a logit from 0.16 to 0.12; of the majority
validation pictures, of which the fp32 net names 88.7 % right, 88.3 to 88.5 % (three runs), with
merely rounded weights 88.2 to 88.4 % (seven ways to choose the ranges of the activations).
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from tqdm import tqdm

from training.augment import augment

STEPS = 200
BATCH = 64
LEARNING_RATE = 5e-5
# As onnx_files rounds: symmetric, for each output channel, 7 of the 8 bits.
LARGEST = 64


class Rounded(nn.Module):
    """A weight on the steps of its 8 bits; its gradient is as if it had not been rounded."""

    def forward(self, weight: Tensor) -> Tensor:
        scale = weight.detach().abs().amax(dim=tuple(range(1, weight.ndim)), keepdim=True) / LARGEST
        scale = scale.clamp_min(1e-12)
        return weight + (torch.round(weight / scale) * scale - weight).detach()


def with_rounded_weights(net: nn.Module, crops: Tensor, *, side: int, seed: int) -> nn.Module:
    """A copy of the folded `net`, its weights on the steps of their 8 bits, that answers as `net`
    does about changed copies of the middle `side` pixels of `crops` (n, 1, canvas, canvas)."""
    teacher, student = net.eval(), copy.deepcopy(net).eval()
    layers = [each for each in student.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", Rounded())
    optimizer = torch.optim.AdamW(student.parameters(), LEARNING_RATE, weight_decay=0, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    generator = torch.Generator().manual_seed(seed)
    for _ in tqdm(range(STEPS), desc="rounding", leave=False):
        rows = torch.randint(len(crops), (BATCH,), generator=generator)
        batch = augment(crops[rows].float(), generator, side=side).to(
            memory_format=torch.channels_last
        )
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            targets = teacher(batch).float().softmax(dim=1)
        with torch.autocast("cpu", torch.bfloat16):
            logits = student(batch)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), targets).backward()
        optimizer.step()
        schedule.step()
    for layer in layers:
        parametrize.remove_parametrizations(layer, "weight")
    return student
