# SPDX-License-Identifier: Apache-2.0
"""Rows P1 and P12: weaver-core's ParticleNet, a whole step or evaluated."""
import torch
import torch.nn.functional as F

from peer_bench import args, autocast, name, precisions, report


def make_network(features, classes, precision):
    from weaver.nn.model.ParticleNet import ParticleNet

    layers = [(16, (64, 64, 64)), (16, (128, 128, 128)), (16, (256, 256, 256))]
    return ParticleNet(features, classes, conv_params=layers, fc_params=[(256, 0.1)], use_fusion=False, use_fts_bn=True, use_counts=True, trim=False,
                       use_amp=precision == "bfloat16").to(args.device)


class Jets:
    def __init__(self, count, features=7, classes=2):
        self.count, self.features, self.classes = count, features, classes
        self.particles = 32 if args.small else 128
        self.real = [min(real, self.particles) for real in args.real] or [self.particles]
        self.real = [self.real[jet % len(self.real)] for jet in range(count)]

    def describe(self):
        text = f"{self.count} jets of {self.particles} particles"
        if (self.features, self.classes) != (7, 2):
            text += f", {self.features} features, {self.classes} classes"
        if len(args.real) == 1:
            return text + f", {self.real[0]} of them real"
        return text + (f", {sum(self.real) / self.count:.1f} of them real on average" if args.real else "")

    def inputs(self):
        """Points, features and mask as weaver takes them."""
        real = torch.tensor(self.real, device=args.device)[:, None, None]
        mask = (torch.arange(self.particles, device=args.device) < real).float()
        return [torch.randn(self.count, channels, self.particles, device=args.device) * mask for channels in (2, self.features)] + [mask]


def particle_net_step(jets, precision, captured):
    model = make_network(jets.features, jets.classes, precision).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True, capturable=captured)
    forward = torch.compile(model) if args.compile else model
    points, features, mask = jets.inputs()
    labels = torch.arange(jets.count, device=args.device) % jets.classes

    def step():
        optimizer.zero_grad(set_to_none=True)
        with autocast(precision):
            logits = forward(points.clone(), features.clone(), mask)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return as_graph(step) if captured else step


def as_graph(step):
    """The whole step as one CUDA graph, made as PyTorch's documentation says."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def particle_net_evaluation(jets, precision):
    model = make_network(jets.features, jets.classes, precision).eval()
    forward = torch.compile(model) if args.compile else model
    points, features, mask = jets.inputs()

    def step():
        with torch.inference_mode(), autocast(precision):
            forward(points, features, mask)

    return step


def particle_net():
    many, few, jet_class = (Jets(*size) for size in (((8,), (4,), (4, 17, 10)) if args.small else ((1024,), (128,), (512, 17, 10))))
    who = name("weaver-core on PyTorch")
    for jets in (many, few, jet_class):
        for precision in precisions():
            report("P1", "ParticleNet training step, " + jets.describe(), precision, who, jets.count, "jets",
                   lambda: particle_net_step(jets, precision, captured=False))
    for precision in precisions() if args.device == "cuda" else ():
        report("P1", "ParticleNet training step, " + few.describe(), precision, who + ", captured", few.count, "jets",
               lambda: particle_net_step(few, precision, captured=True))
    for precision in precisions():
        report("P1", "ParticleNet evaluated, " + many.describe(), precision, who, many.count, "jets", lambda: particle_net_evaluation(many, precision))


def host_time():
    jets = Jets(4 if args.small else 128)
    for captured in (False, True) if args.device == "cuda" else (False,):
        for precision in precisions():
            who = name("weaver-core on PyTorch") + (", captured" if captured else "")
            report("P12", "host time of a ParticleNet training step, " + jets.describe(), precision, who, 1, "steps",
                   lambda: particle_net_step(jets, precision, captured), of_host=True)
