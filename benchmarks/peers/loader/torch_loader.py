# SPDX-License-Identifier: Apache-2.0
"""One epoch of jets with features or of shower images by h5py and PyTorch's DataLoader; prints a line of JSON.

    torch_loader.py jets|showers FILE rows|blocks [--workers N] [--batch N]

rows: a map-style dataset that reads one row per sample, shuffled by the DataLoader: what tutorials show (2,048 samples only:
it is slow). blocks: an iterable dataset whose workers read whole groups of chunks in shuffled order, compute a group at once
and shuffle within it: the best that is written with these two. Workers live on between epochs; the second one is timed.
"""
import argparse
import json
import time

import h5py
import numpy as np
import torch

ROWS_TRIED = 2048


def jet_features(table):
    """Columns of the top tagging reference files as inputs of ParticleNet: share/bunchtrain/cards/top_tagging.toml."""
    real = table["values_block_0"][:, :800].reshape(-1, 200, 4)
    counted = real[:, :, 0] > 0
    jet_e, jet_px, jet_py, jet_pz = (np.where(counted, real[:, :, i], 0).sum(1) for i in range(4))
    jet_pt = np.hypot(jet_px, jet_py)
    jet_eta = np.arcsinh(jet_pz / jet_pt)
    mask = counted[:, :128]
    e, px, py, pz = (np.where(mask, real[:, :128, i], 1) for i in range(4))
    pt = np.hypot(px, py)
    deta = (np.arcsinh(pz / pt) - jet_eta[:, None]) * np.sign(jet_eta)[:, None]
    dphi = np.arctan2(py, px) - np.arctan2(jet_py, jet_px)[:, None]
    dphi = np.remainder(dphi + np.pi, 2 * np.pi) - np.pi
    standardised = lambda x, subtract, multiply: np.clip((x - subtract) * multiply, -5, 5)
    features = np.stack([standardised(np.log(pt), 1.7, 0.7), standardised(np.log(e), 2.0, 0.7),
                         standardised(np.log(pt / jet_pt[:, None]), -4.7, 0.7),
                         standardised(np.log(e / jet_e[:, None]), -4.7, 0.7),
                         standardised(np.hypot(deta, dphi), 0.2, 4.0), deta, dphi], 1)
    features = np.where(mask[:, None], features, 0).astype(np.float32)
    label = table["values_block_1"][:, 1].astype(np.int64)
    return {"features": features, "points": np.ascontiguousarray(features[:, 5:]), "mask": mask, "label": label}


def read_jets(file, rows):
    return jet_features(file["table/table"][rows])


def read_showers(file, rows):
    image = file["ECAL"][rows]
    image[image < 1e-6] = 0
    return {"image": image, "energy": file["energy"][rows]}


KINDS = {"jets": (read_jets, "table/table", 256, "features"), "showers": (read_showers, "ECAL", 64, "image")}


class Rows(torch.utils.data.Dataset):
    def __init__(self, path, read, count):
        self.path, self.read, self.count, self.file = path, read, count, None

    def __len__(self):
        return self.count

    def __getitem__(self, row):
        if self.file is None:  # a worker of its own: HDF5 does not survive a fork
            self.file = h5py.File(self.path, "r")
        return {name: values[0] for name, values in self.read(self.file, slice(row, row + 1)).items()}


class Blocks(torch.utils.data.IterableDataset):
    def __init__(self, path, read, count, block, batch):
        self.path, self.read, self.count, self.block, self.batch, self.epoch = path, read, count, block, batch, 0

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        order = np.random.default_rng(self.epoch).permutation(-(-self.count // self.block))
        self.epoch += 1
        with h5py.File(self.path, "r") as file:
            left = None
            for block in order[worker.id::worker.num_workers]:
                first = int(block) * self.block
                values = self.read(file, slice(first, min(first + self.block, self.count)))
                shuffled = np.random.permutation(len(next(iter(values.values()))))
                values = {name: torch.from_numpy(of_name[shuffled]) for name, of_name in values.items()}
                if left is not None:
                    values = {name: torch.cat([left[name], values[name]]) for name in values}
                samples = len(next(iter(values.values())))
                for begin in range(0, samples - self.batch + 1, self.batch):
                    yield {name: of_name[begin:begin + self.batch] for name, of_name in values.items()}
                left = {name: of_name[samples // self.batch * self.batch:] for name, of_name in values.items()}
            if left is not None and len(next(iter(left.values()))):
                yield left


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("file")
    parser.add_argument("way", choices=("rows", "blocks"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    read, dataset, batch, summed = KINDS[asked.kind]
    batch = asked.batch or batch
    with h5py.File(asked.file, "r") as file:
        count, chunk = file[dataset].shape[0], file[dataset].chunks[0]
    common = {"num_workers": asked.workers, "persistent_workers": True}
    if asked.way == "rows":
        samples = torch.utils.data.Subset(Rows(asked.file, read, count),
                                          np.random.permutation(count)[:ROWS_TRIED].tolist())
        loader = torch.utils.data.DataLoader(samples, batch_size=batch, shuffle=True, **common)
    else:
        block = max(chunk, -(-2 * batch // chunk) * chunk)
        loader = torch.utils.data.DataLoader(Blocks(asked.file, read, count, block, batch), batch_size=None, **common)
    total, elements = 0.0, 0
    for epoch in range(2):
        begin, delivered = time.perf_counter(), 0
        for values in loader:
            delivered += len(values[summed])
            if epoch == 0:
                total += values[summed].double().sum().item()
                elements += values[summed].numel()
        seconds = time.perf_counter() - begin
    print(json.dumps({"per_second": delivered / seconds, "samples": delivered, "mean": total / elements}))


main()
