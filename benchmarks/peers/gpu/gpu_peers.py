# SPDX-License-Identifier: Apache-2.0
"""The rows of gpu_bench on PyTorch: the same cases, options and lines, for the card's machine.

float32 is what PyTorch does unless told otherwise: convolutions may use TF32, matrix products do not. tf32: both do.
bfloat16: autocast. Updates are fused, DDP's gradients are views of its buckets. P1 and P12 need weaver-core (the kit carries
its wheel); torch_cluster has rows where it is installed. Under mpirun P4 is measured on all ranks, which meet in the file that
--store names; the other rows are for one rank.
"""
import os
import sys
import tempfile

import torch
import torch.nn.functional as F

from particle_net_peers import host_time, particle_net
from peer_bench import LOCAL_RANK, RANK, WORLD, args, autocast, failures, name, precisions, report

NEIGHBOURS = 16
LAYERS = 30


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


ROWS = dict(P1=particle_net, P2=set_knn, P3=large_knn, P4=update, P5=shower_gan, P6=batch_norm, P7=edges, P8=arena, P9=edge_conv, P10=diffusion,
            P12=host_time, ceilings=ceilings)
if args.device == "cuda":
    torch.cuda.set_device(LOCAL_RANK % torch.cuda.device_count())
torch.manual_seed(1)
for row in args.rows.split(","):
    ROWS[row]()
sys.stdout.flush()
os._exit(1 if failures else 0)  # compile workers and process groups need not be waited for
