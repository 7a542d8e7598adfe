# SPDX-License-Identifier: Apache-2.0
"""Times pipeline steps of the blocks of calo-diffusion's U-Net by torch.distributed.pipelining over gloo, two ranks of one thread:
the counterpart of pipeline_step.cpp. Needs torch 2.11 and numpy.
"""
import argparse
import os
import pathlib
import statistics
import time

import torch
from torch import distributed, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe
from torch.nn import functional as F

from torch_unet import CHANNELS, Attention, Block, normalised, read_safetensors

CELLS = 28


class Stem(nn.Module):
    def __init__(self, channels):
        super().__init__()
        axis = (torch.arange(CELLS) - (CELLS - 1) / 2) / ((CELLS - 1) / 2)
        x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
        self.register_buffer("place", torch.stack([z, (x * x + y * y).sqrt()])[None], persistent=False)
        self.convolution = nn.Conv3d(3, channels, 3, padding=1)

    def forward(self, image):
        return self.convolution(torch.cat([image[:, None], self.place.expand(len(image), -1, -1, -1, -1)], 1))


class Head(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.convolution = nn.Conv3d(channels, 1, 3, padding=1)

    def forward(self, x):
        return self.convolution(F.silu(normalised(x)))[:, 0]


class Stage(nn.Module):
    """Some of the units; those that are blocks read `known`."""

    def __init__(self, units):
        super().__init__()
        self.units = nn.ModuleDict(units)

    def forward(self, x, known):
        for unit in self.units.values():
            x = unit(x, known) if isinstance(unit, Block) else unit(x)
        return x.contiguous()  # nothing else is sent


def make_units():
    fine, middle, coarse = CHANNELS["tiny"][0]

    def block(channels):
        return Block(channels, channels, 4 * fine)

    return {
        "stem": Stem(fine), "down0": block(fine), "shrink0": nn.Conv3d(fine, middle, 2, stride=2), "down1": block(middle),
        "shrink1": nn.Conv3d(middle, coarse, 2, stride=2), "middle0": block(coarse), "attention": Attention(coarse),
        "middle1": block(coarse), "grow1": nn.ConvTranspose3d(coarse, middle, 2, stride=2), "up1": block(middle),
        "grow0": nn.ConvTranspose3d(middle, fine, 2, stride=2), "up0": block(fine), "head": Head(fine),
    }


def ours(name, value):
    """Our weights under the names and in the shapes of theirs."""
    name = name.replace(".product", "")
    if name.startswith("shrink") and value.dim() == 2:
        value = value.view(len(value), 2, 2, 2, -1).permute(0, 4, 1, 2, 3)
    elif name.startswith("grow"):
        value = value.view(2, 2, 2, len(value) // 8, -1).permute(4, 3, 0, 1, 2) if value.dim() == 2 else value[: len(value) // 8]
    return "units." + name, value


def squares(said, target):
    return (said - target).square().mean()


def check(args):
    tensors = read_safetensors(args.file)
    network = Stage(make_units())
    network.load_state_dict(dict(ours(n, v) for n, v in tensors.items() if not n.startswith("input.") and n != "stem.place"))
    said = network(tensors["input.image"], tensors["input.known"])
    print(f"loss {squares(said, tensors['input.target']).item():.9g}")


def computing(stage, args, x_shape, last):
    """Seconds of this rank's microbatches, forward and backward, with nobody to wait for."""
    size = args.batch // args.microbatches
    x, known = torch.randn(size, *x_shape, requires_grad=len(x_shape) == 4), torch.randn(size, 4 * CHANNELS["tiny"][0][0])
    if args.channels_last and x.dim() == 5:
        x = x.detach().to(memory_format=torch.channels_last_3d).requires_grad_()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(args.microbatches):
            said = stage(x, known)
            (squares(said, torch.zeros_like(said)) if last else said.sum()).backward()
        seconds.append(time.perf_counter() - start)
    stage.zero_grad()
    return min(seconds)


def work(rank, args):
    torch.set_num_threads(1)
    torch.manual_seed(1)
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    units = list(make_units().items())
    stage = Stage(dict(units[: args.cut] if rank == 0 else units[args.cut :]))
    if args.channels_last:
        stage = stage.to(memory_format=torch.channels_last_3d)
    size = args.batch // args.microbatches
    first_input = torch.randn(size, CELLS, CELLS, CELLS)
    known = torch.randn(args.batch, 4 * CHANNELS["tiny"][0][0])
    with torch.no_grad():
        edge = Stage(dict(units[: args.cut]))(first_input, known[:size])
    computed = torch.tensor(computing(stage, args, (first_input if rank == 0 else edge).shape[1:], rank == 1))
    distributed.all_reduce(computed, distributed.ReduceOp.MAX)
    if args.compile:
        stage.compile()
    pipeline = PipelineStage(stage, rank, 2, torch.device("cpu"), input_args=(first_input if rank == 0 else edge, ),
                             output_args=(edge if rank == 0 else first_input, ))
    schedule = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}[args.schedule](pipeline, args.microbatches, loss_fn=squares)
    image, target = (torch.randn(args.batch, CELLS, CELLS, CELLS) for _ in range(2))
    seconds = []
    for repetition in range(args.warmup + args.repetitions):
        distributed.barrier()
        start = time.perf_counter()
        stage.zero_grad()
        schedule.step(image, known=known) if rank == 0 else schedule.step(known=known, target=target, losses=[])
        elapsed = torch.tensor(time.perf_counter() - start)
        distributed.all_reduce(elapsed, distributed.ReduceOp.MAX)
        if repetition >= args.warmup:
            seconds.append(elapsed.item())
    if rank == 0:
        layout = (" compiled" if args.compile else "") + (" channels-last" if args.channels_last else "")
        print(f"pytorch{layout} {args.schedule} ranks 2 batch {args.batch} microbatches {args.microbatches}: {1e3 * statistics.median(seconds):.2f} ms, busiest rank {1e3 * computed.item():.2f} ms")
    distributed.destroy_process_group()


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=["step", "check"])
    parser.add_argument("--schedule", default="1f1b", choices=["gpipe", "1f1b"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--microbatches", type=int, default=8)
    parser.add_argument("--cut", type=int, default=7)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--file", type=pathlib.Path, help="check: what calo_diffusion_pipeline wrote")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse()
    if arguments.task == "check":
        check(arguments)
    else:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
        torch.multiprocessing.spawn(work, (arguments, ), nprocs=2)
