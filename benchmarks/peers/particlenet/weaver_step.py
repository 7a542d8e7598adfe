# SPDX-License-Identifier: Apache-2.0
"""Times training steps of weaver-core's ParticleNet on random jets: the counterpart of training_step.cpp.

Needs torch 2.11 and weaver-core 0.5.3, e.g. pip install torch==2.11.0 weaver-core==0.5.3 in an environment of its own.
weaver's sequence trimmer, which cuts jets while it trains, is off: both sides see the same particles.
"""
import argparse
import statistics
import time

import torch
from weaver.nn.model.ParticleNet import ParticleNet

MODELS = {
    "particlenet": dict(conv_params=[(16, (64, 64, 64)), (16, (128, 128, 128)), (16, (256, 256, 256))], fc_params=[(256, 0.1)]),
    "particlenet-lite": dict(conv_params=[(7, (32, 32, 32)), (7, (64, 64, 64))], fc_params=[(128, 0.1)]),
}

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="particlenet", choices=MODELS)
parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
parser.add_argument("--batch", type=int, default=128)
parser.add_argument("--particles", type=int, default=128)
parser.add_argument("--real", type=int, default=128)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--warmup", type=int, default=2)
parser.add_argument("--compile", action="store_true", help="torch.compile, as weaver --compile; the first warm-up compiles")
args = parser.parse_args()

torch.set_num_threads(args.threads)
torch.manual_seed(1)
model = ParticleNet(7, 2, use_fusion=False, use_fts_bn=True, use_counts=True, trim=False,
                    use_amp=args.precision == "bfloat16", **MODELS[args.model])
model.train()
forward = torch.compile(model) if args.compile else model
mask = torch.zeros(args.batch, 1, args.particles)
mask[:, :, : args.real] = 1
points = torch.randn(args.batch, 2, args.particles) * mask
features = torch.randn(args.batch, 7, args.particles) * mask
labels = torch.zeros(args.batch, dtype=torch.long)

seconds = []
for step in range(args.warmup + args.steps):
    start = time.perf_counter()
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.precision == "bfloat16"):
        logits = forward(points.clone(), features.clone(), mask)
    torch.nn.functional.cross_entropy(logits.float(), labels).backward()
    if step >= args.warmup:
        seconds.append(time.perf_counter() - start)
print(
    f"weaver-core{' compiled' if args.compile else ''} {args.model} {args.precision} batch {args.batch} real {args.real}/{args.particles} "
    f"threads {args.threads}: {args.batch / statistics.median(seconds):.1f} jets/s"
)
