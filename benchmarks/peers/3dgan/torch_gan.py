# SPDX-License-Identifier: Apache-2.0
"""Times 3DGAN on PyTorch, eager or compiled: the counterpart of training_step.cpp and generation.cpp, with the same options and the same output.

Needs torch 2.11 (pip install torch==2.11.0 in an environment of its own).
"""
import argparse
import json
import pathlib
import resource
import statistics
import struct
import time

import numpy
import torch

from shower_gan import Gan, POWER

SHAPE = {"fixed": (25, 25, 25), "angle": (51, 51, 25)}


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=["step", "generate", "check"])
    parser.add_argument("--variant", default="fixed", choices=["fixed", "angle"])
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--oracle", type=pathlib.Path, help="check: the file with weights and inputs")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true", help="step, generate: torch.compile of both networks; warm-ups compile")
    return parser.parse_args()


def read_safetensors(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    types = {"F32": numpy.float32, "F64": numpy.float64}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors[name] = torch.from_numpy(numpy.frombuffer(content[begin:end], types[entry["dtype"]]).reshape(entry["shape"]).copy())
    return tensors


def latent(variant, batch):
    energy, theta = torch.rand(batch) * 0.9 + 0.1, torch.rand(batch) + 1.1
    if variant == "fixed":
        return torch.randn(batch, 200) * energy[:, None], [energy, 2 * energy]
    return torch.cat([energy[:, None], theta[:, None], torch.randn(batch, 254)], 1), [energy, theta, 100 * energy]


def flipped(label, batch):
    return (torch.rand(batch) < 0.05).float() if label == 0 else 1 - (torch.rand(batch) < 0.05).float()


def make_gan(args):
    gan = Gan(args.variant, args.precision, channels_last=args.channels_last)
    if args.compile:  # in place: the optimizers hold the parameters of these very modules
        gan.generator.compile()
        gan.discriminator.compile()
    return gan


def time_step(args):
    gan = make_gan(args)
    image = torch.where(torch.rand(args.batch, 1, *SHAPE[args.variant]) < 0.2, torch.rand(()), torch.zeros(()))
    _, real_targets = latent(args.variant, args.batch)

    def step():
        fakes = [latent(args.variant, args.batch) for _ in range(3)]
        flips = [flipped(1, args.batch), flipped(0, args.batch)]
        gan.step(image, [fake[0] for fake in fakes], flips, real_targets, [fake[1] for fake in fakes])

    return measure(args, step)


def time_generation(args):
    gan = make_gan(args)
    gan.generator.eval()

    def generate():
        with torch.inference_mode():
            showers = gan.generate(latent(args.variant, args.batch)[0]).float()
            return showers if args.variant == "fixed" else showers ** (1 / POWER["angle"])

    return measure(args, generate)


def measure(args, work):
    seconds = []
    for repetition in range(args.warmup + args.repetitions):
        start = time.perf_counter()
        work()
        if repetition >= args.warmup:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def check(args):
    """One step without dropout from the weights and inputs of a file: all losses, to be equal to ours."""
    tensors = read_safetensors(args.oracle)
    gan = Gan(args.variant, args.precision, dropout=0, channels_last=args.channels_last)
    for name, module in (("generator.", gan.generator), ("discriminator.", gan.discriminator)):
        state = {key[len(name) :]: value for key, value in tensors.items() if key.startswith(name)}
        missing, unexpected = module.load_state_dict(state, strict=False)
        assert not unexpected and all(key.endswith("num_batches_tracked") for key in missing), (missing, unexpected)
    names = ["aux", "ecal"] if args.variant == "fixed" else ["aux", "angle", "ecal"]
    real = [tensors["input.real_target." + name] for name in names]
    fake = [[tensors["input.fake_target." + name][i] for name in names] for i in range(3)]
    result = gan.step(tensors["input.image"], tensors["input.latent"], [tensors["label.d_real"], tensors["label.d_fake"]], real, fake)
    for part, values in zip(("d_real", "d_fake", "g1", "g2"), result):
        print(part, *(f"{value:.9g}" for value in values))


args = parse()
torch.set_num_threads(args.threads)
torch.manual_seed(1)
if args.task == "check":
    check(args)
else:
    seconds = time_step(args) if args.task == "step" else time_generation(args)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    layout = (" compiled" if args.compile else "") + (" channels-last" if args.channels_last else "")
    print(
        f"pytorch{layout} {args.task} {args.variant} {args.precision} batch {args.batch} threads {args.threads}: "
        f"{1e3 * seconds:.2f} ms {args.batch / seconds:.2f} showers/s {peak:.0f} MiB"
    )
