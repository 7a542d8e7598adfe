# SPDX-License-Identifier: Apache-2.0
"""Times training steps of calo-diffusion's network on PyTorch, eager or compiled: the counterpart of training_step.cpp.

Needs torch 2.11 and numpy. What an informed user writes: convolutions of stride 2 down and transposed ones up, attention by
scaled_dot_product_attention, fused AdamW.
"""
import argparse
import json
import math
import pathlib
import statistics
import struct
import time

import torch
from torch import nn
from torch.nn import functional as F

WAVES = 32
CHANNELS = {"tiny": ([8, 32, 56], 1), "base": ([32, 96, 160], 1), "large": ([64, 256, 448], 2)}


def normalised(x):
    return F.group_norm(x, 1)


def modulated(x, scale):
    factor, shift = scale[:, :, None, None, None].chunk(2, 1)
    return normalised(x) * (1 + factor) + shift


class Perceptron(nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)

    def forward(self, x):
        return self.third(F.silu(self.second(F.silu(self.first(x)))))


class Block(nn.Module):
    def __init__(self, inputs, outputs, condition):
        super().__init__()
        self.first_scale, self.second_scale = nn.Linear(condition, 2 * inputs), nn.Linear(condition, 2 * outputs)
        self.first, self.second = nn.Conv3d(inputs, outputs, 3, padding=1), nn.Conv3d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv3d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, condition):
        h = self.first(F.silu(modulated(x, self.first_scale(condition))))
        return self.second(F.silu(modulated(h, self.second_scale(condition)))) + self.shortcut(x)


class Attention(nn.Module):
    def __init__(self, channels, heads=4):
        super().__init__()
        self.inputs, self.output, self.heads = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels), heads

    def forward(self, x):
        b, c = x.shape[:2]
        cells = normalised(x).flatten(2).transpose(1, 2)
        q, k, v = self.inputs(cells).view(b, -1, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, -1, c)
        return x + self.output(mixed).transpose(1, 2).reshape(x.shape)


class Unet(nn.Module):
    def __init__(self, preset, cells):
        super().__init__()
        channels, blocks = CHANNELS[preset]
        layers, condition, known = cells[2], 4 * channels[0], WAVES + 1
        unit = 2 ** (len(channels) - 1)
        self.cells, self.levels, self.blocks = cells, len(channels) - 1, blocks
        self.padded = [(n + unit - 1) // unit * unit for n in cells]
        axes = [(torch.arange(p) - (n - 1) / 2) / ((n - 1) / 2) for n, p in zip(cells, self.padded)]
        x, y, z = torch.meshgrid(*axes, indexing="ij")
        self.register_buffer("place", torch.stack([z, (x * x + y * y).sqrt()])[None], persistent=False)
        self.layers = Perceptron(layers + known, 128, layers)
        self.condition = Perceptron(layers + known, condition, condition)
        self.stem = nn.Conv3d(3, channels[0], 3, padding=1)
        parts = {}
        for i, (fine, coarse) in enumerate(zip(channels, channels[1:])):
            for j in range(blocks):
                parts[f"down{i}_{j}"] = Block(fine, fine, condition)
                parts[f"up{i}_{j}"] = Block(2 * fine if j == 0 else fine, fine, condition)
            parts[f"shrink{i}"] = nn.Conv3d(fine, coarse, 2, stride=2)
            parts[f"grow{i}"] = nn.ConvTranspose3d(coarse, fine, 2, stride=2)
        parts["middle0"], parts["middle1"] = (Block(channels[-1], channels[-1], condition) for _ in range(2))
        parts["attention"] = Attention(channels[-1])
        self.parts = nn.ModuleDict(parts)
        self.head = nn.Conv3d(channels[0], 1, 3, padding=1)

    def forward(self, cells_in, cells_known, layers_known):
        condition, parts = self.condition(cells_known), self.parts
        pad = [v for n, p in zip(reversed(self.cells), reversed(self.padded)) for v in (0, p - n)]
        x = F.pad(cells_in, pad)[:, None]
        x = self.stem(torch.cat([x, self.place.to(x.dtype).expand(len(x), -1, -1, -1, -1)], 1))
        skips = []
        for i in range(self.levels):
            for j in range(self.blocks):
                x = parts[f"down{i}_{j}"](x, condition)
            skips.append(x)
            x = parts[f"shrink{i}"](x)
        x = parts["middle1"](parts["attention"](parts["middle0"](x, condition)), condition)
        for i in reversed(range(self.levels)):
            x = torch.cat([parts[f"grow{i}"](x), skips[i]], 1)
            for j in range(self.blocks):
                x = parts[f"up{i}_{j}"](x, condition)
        said = self.head(F.silu(normalised(x)))[:, 0]
        return said[:, : self.cells[0], : self.cells[1], : self.cells[2]], self.layers(layers_known)

    def load(self, tensors):
        """Our weights: products over 2 x 2 x 2 cells where PyTorch has convolutions of stride 2."""
        state = {}
        for name, value in tensors.items():
            if name.startswith(("input.", "normaliser.")) or name == "stem.place":
                continue
            name = name.replace("stem.convolution", "stem").replace("head.convolution", "head")
            if name.startswith("shrink"):
                name = name.replace(".product", "")
                if value.dim() == 2:
                    value = value.view(len(value), 2, 2, 2, -1).permute(0, 4, 1, 2, 3)
            elif name.startswith("grow"):
                name = name.replace(".product", "")
                value = value.view(2, 2, 2, len(value) // 8, -1).permute(4, 3, 0, 1, 2) if value.dim() == 2 else value[: len(value) // 8]
            elif name.endswith("shortcut.weight"):
                value = value[:, :, None, None, None]
            if name.split(".")[0] not in ("layers", "condition", "stem", "head"):
                name = "parts." + name
            state[name] = value
        self.load_state_dict(state)


def read_safetensors(path):
    import numpy

    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    tensors = {}
    for name, entry in json.loads(content[8 : 8 + length]).items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors[name] = torch.from_numpy(numpy.frombuffer(content[begin:end], numpy.float32).reshape(entry["shape"]).copy())
    return tensors


def loss_of(said, targets):
    return sum(weight * (a.float() - b).square().mean() for weight, a, b in zip((1, 0.1), said, targets))


def waves(sigma):
    frequencies = torch.exp(torch.arange(WAVES // 2, device=sigma.device) * (math.log(200) / (WAVES // 2 - 1)))
    phases = sigma.log()[:, None] / 4 * frequencies
    return torch.cat([phases.sin(), phases.cos()], 1)


def noised(clean, log_energy):
    """Karras et al., table 1, with data of width 1."""
    sigma = torch.exp(torch.randn(len(clean), device=clean.device) * 1.3 - 0.5)
    s = sigma.view(-1, *[1] * (clean.dim() - 1))
    width = (s * s + 1).sqrt()
    noisy = clean + torch.randn_like(clean) * s
    return noisy / width, (clean - noisy / width**2) * width / s, torch.cat([waves(sigma), log_energy[:, None]], 1)


def prepared(image, energy):
    """As the normaliser does with mean 0 and width 1."""
    sums = image.sum((1, 2))
    return (image / sums[:, None, None].clamp_min(1e-12)).sqrt().sqrt(), (sums / energy[:, None] + 1e-6).log()


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=["step", "check"])
    parser.add_argument("--preset", default="tiny", choices=list(CHANNELS))
    parser.add_argument("--cells", type=int, nargs=3, default=[25, 25, 25])
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--file", type=pathlib.Path, help="check: what calo_diffusion_step wrote")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


def make(args):
    network = Unet(args.preset, args.cells)
    return network.to(memory_format=torch.channels_last_3d) if args.channels_last else network


def check(args):
    tensors = read_safetensors(args.file)
    network = make(args)
    network.load(tensors)
    inputs = {name[6:]: value for name, value in tensors.items() if name.startswith("input.")}
    with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bfloat16"):
        said = network(inputs["cells_in"], inputs["cells_known"], inputs["layers_known"])
    loss = loss_of(said, (inputs["cells_target"], inputs["layers_target"]))
    loss.backward()
    # Our transposed convolution has a bias for each of its eight cells: theirs are the sums over these, left out on both sides.
    print(f"loss {loss.item():.9g}")
    print(f"gradient {math.sqrt(sum(p.grad.square().sum().item() for n, p in network.named_parameters() if 'grow' not in n or 'bias' not in n)):.9g}")


def step(args):
    network = make(args)
    if args.compile:
        network.compile()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    image = torch.rand(args.batch, *args.cells)
    image, energy = image * (torch.rand(image.shape) < 0.2), torch.rand(args.batch) * 90 + 10
    seconds = []
    for repetition in range(args.warmup + args.repetitions):
        start = time.perf_counter()
        optimizer.zero_grad()
        cells, layers = prepared(image, energy)
        cells_in, cells_target, cells_facts = noised(cells, energy.log())
        layers_in, layers_target, layers_facts = noised(layers, energy.log())
        with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bfloat16"):
            said = network(cells_in, torch.cat([cells_facts, layers], 1), torch.cat([layers_in, layers_facts], 1))
        loss_of(said, (cells_target, layers_target)).backward()
        optimizer.step()
        if repetition >= args.warmup:
            seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    layout = (" compiled" if args.compile else "") + (" channels-last" if args.channels_last else "")
    print(f"pytorch{layout} {args.preset} {args.precision} batch {args.batch} threads {args.threads}: {1e3 * median:.2f} ms {args.batch / median:.2f} showers/s")


if __name__ == "__main__":
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    check(arguments) if arguments.task == "check" else step(arguments)
