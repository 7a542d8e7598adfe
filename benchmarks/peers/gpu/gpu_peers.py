# SPDX-License-Identifier: Apache-2.0
"""The rows of gpu_bench on PyTorch: the same cases, options and lines, for the card's machine.

float32 is what PyTorch does unless told otherwise: convolutions may use TF32, matrix products do not. tf32: both do.
bfloat16: autocast. Updates are fused, DDP's gradients are views of its buckets. P1 needs weaver-core (the kit carries its
wheel); torch_cluster has rows where it is installed. P12 is the time in which the host enqueues a step. Under mpirun P4 is measured on all ranks, which meet in the file that
--store names; the other rows are for one rank.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
import time

import torch
import torch.nn.functional as F

NEIGHBOURS = 16
LAYERS = 30
MOST, BLOCK = 200, 10


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--rows", default="P1,P2,P3,P4,P5,P6,P7,P8,P9,P10,P12", help="of these and ceilings")
    parser.add_argument("--precision", help="only these")
    parser.add_argument("--case", default="", help="only those whose names have this in them")
    parser.add_argument("--real", type=lambda text: list(map(int, text.split(","))), default=[],
                        help="P1, P12: real particles, of the jets in turn; the other slots are padding. Default: all")
    parser.add_argument("--store", help="P4 on several ranks: a file that is not there yet")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    return parser.parse_args()


# ---------------------------------------------------------------- measuring, as measurement.cpp does


class Marks:
    def __init__(self, of_host):
        self.marks = []
        self.of_host = of_host

    def mark(self):
        if self.of_host:
            self.marks.append(time.perf_counter())
        else:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append(event)

    def take(self):
        marks, self.marks = self.marks, []
        if self.of_host:
            synchronize()  # each block begins with nothing before it
            return [1e3 * (after - before) for before, after in zip(marks, marks[1:])]
        marks[-1].synchronize()
        return [before.elapsed_time(after) for before, after in zip(marks, marks[1:])]


def synchronize():
    if args.device == "cuda":
        torch.cuda.synchronize()


def of_slowest_rank(seconds):
    if WORLD == 1 or not torch.distributed.is_initialized():
        return seconds
    slowest = torch.tensor([seconds], device=args.device)
    torch.distributed.all_reduce(slowest, torch.distributed.ReduceOp.MAX)
    return slowest.item()


def spread(values):
    values = sorted(values)
    return [values[round(part * (len(values) - 1))] for part in (0.5, 0.1, 0.9)]


def measure(step, baseline, of_host):
    def call():
        step()
        if baseline:
            baseline()

    warm_ups, least = (1, 3) if args.small else (3, 5)
    for _ in range(warm_ups - 1):
        call()
    synchronize()
    start = time.perf_counter()
    call()
    synchronize()
    count = int(min(max(args.seconds / of_slowest_rank(time.perf_counter() - start), least), MOST))
    steps, baselines, marks = [], [], Marks(of_host or args.device == "cpu")
    for begin in range(0, count, BLOCK):
        marks.mark()
        for _ in range(begin, min(begin + BLOCK, count)):
            step()
            marks.mark()
            if baseline:
                baseline()
                marks.mark()
        durations = marks.take()
        steps += durations[::2] if baseline else durations
        baselines += durations[1::2] if baseline else []
    return spread(steps), statistics.median(baselines) if baselines else None, count


def report(row, case, precision, who, samples, unit, prepare, of_host=False):
    """One line: measured or failed. `prepare` makes the step, or the step and its baseline."""
    if args.precision and precision not in args.precision.split(",") or args.case not in case:
        return
    device = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    line = dict(row=row, case=case, precision=precision, who=who, device=device)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.compiler.reset()  # after eight compilations of a function the ninth runs eagerly
    try:
        work = prepare()
        step, baseline = work if isinstance(work, tuple) else (work, None)
        (median, low, high), base, count = measure(step, baseline, of_host)
        line.update(median_ms=median, low_ms=low, high_ms=high, repetitions=count, rate=1e3 * samples / median, unit=unit + "/s")
        if base is not None:
            line.update(baseline_ms=base, exposed_ms=median - base)
    except Exception as error:
        failures.append(error)
        line["error"] = f"{type(error).__name__}: {error}"[:300]
    if RANK == 0:
        print(json.dumps(line), flush=True)


def precisions():
    """Compiling takes long: what is compared most comes first."""
    names = ["float32", "bfloat16"] if args.device == "cpu" else ["float32", "tf32", "bfloat16"]
    return names[::-1] if args.compile else names


def autocast(precision):
    return torch.autocast(args.device, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def name(base):
    return base + (", compiled" if args.compile else "")


# ---------------------------------------------------------------- the rows


def particle_net(features, classes, precision):
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
    model = particle_net(jets.features, jets.classes, precision).train()
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
    model = particle_net(jets.features, jets.classes, precision).eval()
    forward = torch.compile(model) if args.compile else model
    points, features, mask = jets.inputs()

    def step():
        with torch.inference_mode(), autocast(precision):
            forward(points, features, mask)

    return step


def particle_net_rows():
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


def by_cdist(points, k):
    """The k + 1 nearest without the first, which is taken to be the point itself; in parts that fit into memory."""
    part = max(1, 2**30 // points.shape[1])
    for rows in points.split(part, dim=1):
        torch.cdist(rows, points).topk(k + 1, largest=False).indices[..., 1:]


def by_expansion(points, k):
    squares = points.square().sum(2)
    part = max(1, 2**30 // points.shape[1])
    for rows, own in zip(points.split(part, dim=1), squares.split(part, dim=1)):
        (2 * rows @ points.transpose(1, 2) - own[:, :, None] - squares[:, None]).topk(k + 1).indices[..., 1:]


def by_torch_cluster(points, k):
    from torch_cluster import knn

    flat = points.flatten(0, 1)
    sets = torch.arange(points.shape[0], device=points.device).repeat_interleave(points.shape[1])
    return lambda: knn(flat, flat, k + 1, sets, sets)


def has_torch_cluster():
    try:
        import torch_cluster  # noqa: F401
    except ImportError:
        return False
    return True


def knn(row, sets, points, dims, k=NEIGHBOURS):
    coordinates = torch.randn(sets, points, dims, device=args.device)
    case = f"kNN, {sets} x {points} points, D {dims}, k {k}"
    rest = (sets * points, "points")
    report(row, case, "float32", "cdist + topk", *rest, lambda: lambda: by_cdist(coordinates, k))
    report(row, case, "float32", "expansion + topk", *rest, lambda: lambda: by_expansion(coordinates, k))
    if has_torch_cluster():
        report(row, case, "float32", "torch_cluster", *rest, lambda: by_torch_cluster(coordinates, k))


def set_knn():
    for dims in (2, 64, 128):
        knn("P2", *((16, 32) if args.small else (1024, 128)), dims)


def large_knn():
    for points, dims in ((100_000, 3), (100_000, 5)):
        knn("P3", 1, points // 100 if args.small else points, dims, k=40)


class Stack(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(width, width) for _ in range(LAYERS))

    def forward(self, value):
        for layer in self.layers:
            value = layer(value).relu()
        return value.square().mean()


def update_step(width):
    bare, net = Stack(width).to(args.device), Stack(width).to(args.device)
    data_parallel = torch.nn.parallel.DistributedDataParallel(net, gradient_as_bucket_view=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    data = torch.randn(64, width, device=args.device)

    def with_update():
        optimizer.zero_grad(set_to_none=True)
        data_parallel(data).backward()
        optimizer.step()

    def without():
        bare.zero_grad(set_to_none=True)
        bare(data).backward()

    return with_update, without


def update():
    store = args.store or os.path.join(tempfile.mkdtemp(), "store")
    backend = "gloo" if args.device == "cpu" else "nccl"
    torch.distributed.init_process_group(backend, init_method=f"file://{os.path.abspath(store)}", rank=RANK, world_size=WORLD)
    for width in (32, 64) if args.small else (110, 316, 1000):
        millions = LAYERS * (width * width + width) * 1e-6
        case = f"gradient synchronisation and update, {millions:.2f} M parameters, {WORLD} ranks"
        report("P4", case, "float32", "DDP + fused AdamW", 1, "steps", lambda: update_step(width))
    torch.distributed.destroy_process_group()


def shower_gan_step(variant, precision, showers, channels_last):
    from shower_gan import Gan

    gan = Gan(variant, precision, channels_last=channels_last, device=args.device)
    if args.compile:
        gan.generator, gan.discriminator = torch.compile(gan.generator), torch.compile(gan.discriminator)
    shape = (25, 25, 25) if variant == "fixed" else (51, 51, 25)
    image = torch.rand(showers, 1, *shape, device=args.device)
    image *= torch.rand_like(image) < 0.2

    def latent():
        energy, theta = torch.rand(showers, device=args.device) * 0.9 + 0.1, torch.rand(showers, device=args.device) + 1.1
        if variant == "fixed":
            return torch.randn(showers, 200, device=args.device) * energy[:, None], [energy, 2 * energy]
        noise = torch.randn(showers, 254, device=args.device)
        return torch.cat([energy[:, None], theta[:, None], noise], 1), [energy, theta, 100 * energy]

    def flips(label):
        flipped = (torch.rand(showers, device=args.device) < 0.05).float()
        return 1 - flipped if label else flipped

    def step():
        fakes = [latent() for _ in range(3)]
        gan.step(image, [fake[0] for fake in fakes], [flips(1), flips(0)], latent()[1], [fake[1] for fake in fakes])

    return step


def shower_gan():
    sizes = (("fixed", "25x25x25", 128, 2), ("angle", "51x51x25", 64, 1))
    for variant, grid, many, few in sizes:
        showers = few if args.small else many
        for precision in precisions():
            for channels_last in (True, False):
                who = name("PyTorch channels-last" if channels_last else "PyTorch")
                report("P5", f"3DGAN step, {showers} showers of {grid}", precision, who, showers, "showers",
                       lambda: shower_gan_step(variant, precision, showers, channels_last))


def edge_sizes():
    """Jets, points, neighbours, channels."""
    return [(8, 32, 4, 8), (8, 32, 4, 16)] if args.small else [(1024, 128, 16, 64), (1024, 128, 16, 256)]


def stored(precision, *shape, **options):
    return torch.randn(*shape, device=args.device, dtype=torch.bfloat16 if precision == "bfloat16" else torch.float32, **options)


def batch_norm_step(precision, edges, channels, images):
    """On [edges, channels], or on [1, channels, edges, 1] as weaver's Conv2d leaves them: channels first."""
    shape = (1, channels, edges, 1) if images else (edges, channels)
    norm = (torch.nn.BatchNorm2d if images else torch.nn.BatchNorm1d)(channels, device=args.device)
    data, gradient = stored(precision, *shape, requires_grad=True), stored(precision, *shape)
    function = lambda x: F.relu(norm(x))
    forward = torch.compile(function) if args.compile else function

    def step():
        data.grad = None
        forward(data).backward(gradient)

    return step


def batch_norm():
    for jets, points, neighbours, channels in edge_sizes():
        edges = jets * points * neighbours
        case = f"batch norm and ReLU, forward and backward, {edges} edges of {channels} channels"
        for precision in ("float32", "bfloat16"):
            for images in (False, True):
                who = name("PyTorch channels-first" if images else "PyTorch")
                report("P6", case, precision, who, edges * channels, "elements", lambda: batch_norm_step(precision, edges, channels, images))


def edge_step(precision, jets, points, neighbours, channels):
    u, v = (stored(precision, jets, points, channels, requires_grad=True) for _ in range(2))
    indices = torch.randint(points, (jets, points * neighbours, 1), device=args.device)
    gradient = stored(precision, jets, points, neighbours, channels)

    def function(u, v):
        return u[:, :, None] + v.gather(1, indices.expand(-1, -1, channels)).view(jets, points, neighbours, channels)

    forward = torch.compile(function) if args.compile else function

    def step():
        u.grad = v.grad = None
        forward(u, v).backward(gradient)

    return step


def edges():
    for jets, points, neighbours, channels in edge_sizes():
        case = f"edge sums, forward and backward, {jets} x {points} points, k {neighbours}, {channels} channels"
        for precision in ("float32", "bfloat16"):
            report("P7", case, precision, name("gather"), jets * points * neighbours * channels, "elements",
                   lambda: edge_step(precision, jets, points, neighbours, channels))


def diffusion_step(preset, precision, cells, showers, channels_last):
    import torch_unet

    network = torch_unet.Unet(preset, cells).to(args.device)
    if channels_last:
        network = network.to(memory_format=torch.channels_last_3d)
    if args.compile:
        network.compile()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    image = torch.rand(showers, *cells, device=args.device)
    image, energy = image * (torch.rand_like(image) < 0.2), torch.rand(showers, device=args.device) * 90 + 10

    def step():
        optimizer.zero_grad(set_to_none=True)
        cells, layers = torch_unet.prepared(image, energy)
        cells_in, cells_target, cells_facts = torch_unet.noised(cells, energy.log())
        layers_in, layers_target, layers_facts = torch_unet.noised(layers, energy.log())
        with autocast(precision):
            said = network(cells_in, torch.cat([cells_facts, layers], 1), torch.cat([layers_in, layers_facts], 1))
        torch_unet.loss_of(said, (cells_target, layers_target)).backward()
        optimizer.step()

    return step


def diffusion():
    import torch_unet

    torch_unet.CHANNELS["few"] = ([8, 16], 1)
    preset, cells, showers = ("few", [9, 9, 9], 2) if args.small else ("base", [25, 25, 25], 64)
    case = f"calo-diffusion training step, {showers} showers of {'x'.join(map(str, cells))}"
    for precision in precisions():
        for channels_last in (True, False):
            who = name("PyTorch channels-last" if channels_last else "PyTorch")
            report("P10", case, precision, who, showers, "showers", lambda: diffusion_step(preset, precision, cells, showers, channels_last))


def arena_step(parameters, everything):
    """Parameters of 10,000 numbers, the last of what is left."""
    sizes = [min(10_000, parameters - begin) for begin in range(0, parameters, 10_000)]
    weights = [torch.nn.Parameter(torch.randn(size, device=args.device)) for size in sizes]
    for weight in weights:
        weight.grad = weight.detach().clone()
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.01, fused=True)
    averages = [weight.detach().clone() for weight in weights]

    def step():
        if everything:
            torch.nn.utils.clip_grad_norm_(weights, 1.0, foreach=True)
        optimizer.step()
        if everything:
            torch._foreach_lerp_(averages, [weight.detach() for weight in weights], 0.001)

    return step


def arena():
    for parameters in [4096] if args.small else [366_160, 30_000_000]:
        for everything in (False, True):
            what = " with clipping and a moving average" if everything else ""
            gigabytes = 4e-9 * (10 if everything else 7) * parameters
            report("P8", f"AdamW step{what}, {1e-6 * parameters:.2f} M parameters", "float32", "fused AdamW", gigabytes, "GB",
                   lambda: arena_step(parameters, everything))


def edge_conv_step(precision, jets, points, neighbours, channels, training):
    """As weaver has it: edges channels first, convolutions of 1 x 1."""
    layers = []
    for number in range(3):
        layers += [torch.nn.Conv2d(channels * (2 if number == 0 else 1), channels, 1, bias=False), torch.nn.BatchNorm2d(channels), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers).to(args.device).train(training)
    features = torch.randn(jets, channels, points, device=args.device)
    indices = torch.randint(points, (jets, 1, points * neighbours), device=args.device)

    def function(features):
        others = features.gather(2, indices.expand(-1, channels, -1)).view(jets, channels, points, neighbours)
        own = features[..., None].expand_as(others)
        return net(torch.cat([own, others - own], 1)).mean(3)

    forward = torch.compile(function) if args.compile else function

    def step():
        net.zero_grad(set_to_none=True)
        with torch.set_grad_enabled(training), autocast(precision):
            mean = forward(features)
        if training:
            mean.float().sum().backward()

    return step


def edge_conv():
    for jets, points, neighbours, channels in edge_sizes():
        for precision in precisions():
            for training in (True, False):
                what = "forward and backward" if training else "evaluated"
                report("P9", f"EdgeConv, {what}, {jets} x {points} points, k {neighbours}, {channels} channels", precision, name("PyTorch"),
                       jets, "jets", lambda: edge_conv_step(precision, jets, points, neighbours, channels, training))


def ceilings():
    """What the card can do: a copy and a large matrix product."""
    numbers = torch.empty(2**28, device=args.device)
    target = torch.empty_like(numbers)
    report("ceiling", "copy of 1 GiB, read and written", "float32", "PyTorch", 2 * numbers.nbytes / 1e9, "GB", lambda: lambda: target.copy_(numbers))
    matrix = torch.randn(8192, 8192, device=args.device, dtype=torch.bfloat16)
    report("ceiling", "product of 8192 x 8192", "bfloat16", "PyTorch", 2 * 8192**3 / 1e12, "TFLOP", lambda: lambda: matrix @ matrix)


ROWS = dict(P1=particle_net_rows, P2=set_knn, P3=large_knn, P4=update, P5=shower_gan, P6=batch_norm, P7=edges, P8=arena, P9=edge_conv, P10=diffusion,
            P12=host_time, ceilings=ceilings)
RANK, WORLD, LOCAL_RANK = (int(os.environ.get("OMPI_COMM_WORLD_" + what, default)) for what, default in
                           (("RANK", 0), ("SIZE", 1), ("LOCAL_RANK", 0)))
args = parse()
if args.device == "cuda":
    torch.cuda.set_device(LOCAL_RANK % torch.cuda.device_count())
failures = []
torch.manual_seed(1)
for row in args.rows.split(","):
    ROWS[row]()
sys.stdout.flush()
os._exit(1 if failures else 0)  # compile workers and process groups need not be waited for
