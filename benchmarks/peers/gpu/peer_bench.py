# SPDX-License-Identifier: Apache-2.0
"""Options of gpu_peers.py, and how it measures: as measurement.cpp of gpu_bench does."""
import argparse
import json
import os
import statistics
import time

import torch

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


RANK, WORLD, LOCAL_RANK = (int(os.environ.get("OMPI_COMM_WORLD_" + what, default)) for what, default in
                           (("RANK", 0), ("SIZE", 1), ("LOCAL_RANK", 0)))
args = parse()
failures = []


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
            synchronize()
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
    block = 1 if of_host else BLOCK
    for begin in range(0, count, block):
        marks.mark()
        for _ in range(begin, min(begin + block, count)):
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
