"""The training loop: resumable, seeded, with a moving average of the weights and a score on held-out pictures."""

from __future__ import annotations

import contextlib
import csv
import ctypes
import math
import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from detection.coco import Example, read_image
from detection.detector import prepare, suppress
from detection.errors import DataError, PictureError
from detection.evaluation.report import CLASSES, Found, ranked
from detection.training.dataset import Batch, Scenes
from detection.training.loss import Loss, batch_loss
from detection.training.network import (
    INPUT,
    Network,
    Weights,
    anchor_points,
    decode,
    load_folded,
    norm_after,
    scores,
    settle,
)
from detection.training.teacher import Seen

CHECKPOINT = "checkpoint.pt"
CURVE = "curve.csv"
# Without instructions for bfloat16 it is emulated, and a step takes 1.7 times as long as in float.
HAS_BFLOAT16 = any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


@dataclass(frozen=True)
class TrainingSettings:
    """The settings of a training run.

    Args:
        epochs: an epoch is as many scenes as there are training pictures.
        minutes: end after this long, the learning rate falling accordingly; 0 means no limit.
        batch: scenes per step.
        learning_rate: of AdamW, after a warm-up; falls to a fiftieth along a cosine.
        first_rate: the share of it for what came with the first weights, 0 to 1.
        keep_stem: the layers before stride 8 stay as they are, and a step takes 0.6 of the time.
        average: how much of the moving average of the weights a step keeps, 0 to 1.
        residuals: see `Network`.
        evaluate_every: epochs between two scores on the held-out pictures.
        smoothing: see `batch_loss`.
        seed: of everything that is random.
        threads: of torch; 0 means as many as there are cores.
        workers: processes that make scenes; 0 makes them in this one.
    """

    epochs: int = 100
    minutes: float = 0
    batch: int = 32
    learning_rate: float = 1e-3
    first_rate: float = 1.0
    keep_stem: bool = False
    average: float = 0.999
    residuals: tuple[int, int, int, int] = (1, 2, 2, 1)
    evaluate_every: int = 5
    smoothing: float = 0.0
    seed: int = 1
    threads: int = 0
    workers: int = 1


class Progress(Protocol):
    """Receives reports of how far the run is."""

    def step(self, epoch: int, done: float, left_s: float, loss: float) -> None: ...

    def told(self, sentence: str) -> None: ...


class _Stream(IterableDataset[Batch]):
    """Batches made in a separate process, so that the network never waits for pictures."""

    def __init__(
        self, examples: list[Example], seen: list[Seen] | None, seed: int, batch: int, teacher: Path | None
    ) -> None:
        self._given = (examples, seen, seed, teacher)
        self._batch = batch

    def __iter__(self) -> Iterator[tuple[Batch, list[str]]]:
        cv2.setNumThreads(1)
        examples, seen, seed, teacher = self._given
        info = get_worker_info()
        scenes = Scenes(examples, seen, seed + (info.id if info else 0), teacher=teacher)
        for batch in scenes.batches(self._batch):
            yield batch, scenes.faults[:]
            scenes.faults.clear()


def train(
    examples: list[Example],
    held_out: list[Example],
    folder: Path,
    settings: TrainingSettings,
    progress: Progress,
    *,
    seen: list[Seen] | None = None,
    teacher: Path | None = None,
    first: Weights | None = None,
) -> Network:
    """Train a network, or resume from `folder`'s checkpoint; returns the moving average of its weights.

    Args:
        folder: gets checkpoint.pt after each epoch, and curve.csv, a row per epoch.
        seen: what the teacher saw in each of `examples`.
        teacher: its file; the network follows what it says about each scene where there is no label.
        first: weights to begin with, as an exported model has them.

    Raises:
        DataError: no picture can be read, or the checkpoint or the first weights are a different network's.
    """
    _keep_memory()
    torch.manual_seed(settings.seed)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    folder.mkdir(parents=True, exist_ok=True)
    network = Network(settings.residuals)
    kept = _read_checkpoint(folder / CHECKPOINT, settings)
    epoch, spent_s = (kept["epoch"], kept["spent_s"]) if kept else (0, 0.0)
    stream = _Stream(examples, seen, settings.seed + 1000 * epoch, settings.batch, teacher)
    # Spawned: a fork of a process whose OpenCV has threads waits for ever for threads that it does not have.
    apart = {"multiprocessing_context": "spawn", "prefetch_factor": 4} if settings.workers else {}
    batches = iter(DataLoader(stream, batch_size=None, num_workers=settings.workers, **apart))
    if kept is None and first is not None:
        try:
            load_folded(network, first)
        except (ValueError, KeyError) as error:
            raise DataError(f"The first weights are another network's: {error}.") from error
        settle(network, [_tensor(next(batches)[0]) for _ in range(8)])
    network = network.to(memory_format=torch.channels_last)
    average: Network = deepcopy(network)
    average.eval()
    if settings.keep_stem:
        network.stem_parts.requires_grad_(False)
    optimizer = torch.optim.AdamW(_groups(network, first or {}, settings.first_rate), lr=settings.learning_rate)
    if kept:
        network.load_state_dict(kept["network"])
        average.load_state_dict(kept["average"])
        try:
            optimizer.load_state_dict(kept["optimizer"])
        except ValueError as error:
            raise DataError(
                f"{folder / CHECKPOINT} began with other first weights. Use the same --first, or another folder."
            ) from error
        progress.told(f"Going on after epoch {epoch}.")
    steps = max(1, len(examples) // settings.batch)
    began = time.monotonic() - spent_s
    step = epoch * steps
    while (done := _done(epoch, settings, began)) < 1:
        network.train()
        if settings.keep_stem:
            network.stem_parts.eval()
        sums = np.zeros(3)
        for index in range(steps):
            batch, faults = next(batches)
            for fault in faults:
                progress.told(fault)
            done = _done(epoch + index / steps, settings, began)
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * group["share"] * _rate(step, done)
            loss = _step(network, optimizer, batch, settings)
            step += 1
            _follow(average, network, min(settings.average, (1 + step) / (10 + step)))
            sums += [loss.face.item(), loss.box.item(), loss.label.item()]
            spent = time.monotonic() - began
            progress.step(epoch + 1, done, spent / max(done, 1e-6) * (1 - done), loss.total.item())
        epoch += 1
        row: dict[str, float] = {"epoch": epoch, "rate": settings.learning_rate * _rate(step, done)}
        row |= dict(zip(("face", "box", "label"), (round(float(each / steps), 4) for each in sums), strict=True))
        finished = _done(epoch, settings, began) >= 1
        if held_out and (finished or epoch % settings.evaluate_every == 0):
            row |= held_out_precision(average, held_out)
        _write_row(folder / CURVE, row)
        _write_checkpoint(folder / CHECKPOINT, network, average, optimizer, settings, epoch, time.monotonic() - began)
    return average


def held_out_precision(network: Network, examples: list[Example]) -> dict[str, float]:
    """Average precision at 0.5 of face (no_mask and incorrect), mask and any face, by the network itself."""
    found = []
    network.eval()
    for example in examples:
        try:
            tensor, scale = prepare(read_image(example), INPUT)
        except PictureError:
            continue
        with torch.no_grad():
            boxes, logits = network(torch.from_numpy(tensor).to(memory_format=torch.channels_last))
            score = scores(logits)[0].numpy()
        best = score.max(1)
        kept = np.flatnonzero(best >= 0.02)
        kept = kept[suppress(boxes[0].numpy()[kept], best[kept], 0.45)]
        places = boxes[0].numpy()[kept] / np.asarray(scale * 2, np.float32)
        found.append(Found(example, places, score[kept].argmax(1), best[kept]))
    return {
        f"ap50_{name}": round(ranked(found, CLASSES[name]).average_precision or 0.0, 4)
        for name in ("face", "mask", "any")
    }


def held_out_mean(network: Network, examples: list[Example]) -> float:
    """The score for choosing: the mean of the average precisions of face and mask, 0 to 1."""
    reached = held_out_precision(network, examples)
    return (reached["ap50_face"] + reached["ap50_mask"]) / 2


def _step(network: Network, optimizer: torch.optim.Optimizer, batch: Batch, settings: TrainingSettings) -> Loss:
    with torch.autocast("cpu", torch.bfloat16, enabled=HAS_BFLOAT16):
        levels = network.levels(_tensor(batch))
    raw = torch.cat([level.flatten(2) for level in levels], 2).float()
    points = anchor_points([(level.shape[2], level.shape[3]) for level in levels])
    loss = batch_loss(
        points,
        decode(raw, points),
        raw[:, 4:].transpose(1, 2),
        [torch.from_numpy(boxes) for boxes in batch.boxes],
        [torch.from_numpy(labels) for labels in batch.labels],
        [torch.from_numpy(ignored) for ignored in batch.ignored],
        taught=[(torch.from_numpy(faces), torch.from_numpy(boxes)) for faces, boxes in _taught(batch)],
        smoothing=settings.smoothing,
    )
    optimizer.zero_grad(set_to_none=True)
    loss.total.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
    optimizer.step()
    return loss


def _taught(batch: Batch) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Scene by scene, what the teacher says about its points."""
    if batch.taught is not None:
        yield from zip(batch.taught.faces, batch.taught.boxes, strict=True)


def _keep_memory() -> None:
    """Have glibc keep what is freed: each step takes the same memory again, and asking again is a fifth of its time."""
    with contextlib.suppress(OSError, AttributeError):  # another C library: slower, but just as correct
        libc = ctypes.CDLL("libc.so.6")
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 1 << 29)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
            libc.mallopt(option, value)


def _tensor(batch: Batch) -> torch.Tensor:
    return torch.from_numpy(batch.images).float().contiguous(memory_format=torch.channels_last)


def _groups(network: Network, first: Weights, first_rate: float) -> list[dict[str, Any]]:
    """Weights decay, biases and normalisations do not; what came with the first weights learns at `first_rate`."""
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {
        (came, decays): [] for came in (True, False) for decays in (True, False)
    }
    came = {name.rpartition(".")[0] for name in first}
    came |= {norm for convolution in came if (norm := norm_after(convolution))}
    for name, value in network.named_parameters():
        groups[name.rpartition(".")[0] in came, value.ndim > 1].append(value)
    return [
        {"params": values, "weight_decay": 0.01 if decays else 0.0, "share": first_rate if is_first else 1.0}
        for (is_first, decays), values in groups.items()
    ]


def _done(epoch: float, settings: TrainingSettings, began: float) -> float:
    """How much of the run is done, 0 to 1, by epochs or by minutes, whichever ends first."""
    by_time = (time.monotonic() - began) / 60 / settings.minutes if settings.minutes else 0.0
    return min(1.0, max(epoch / settings.epochs, by_time))


def _rate(step: int, done: float) -> float:
    """The learning rate's factor: a warm-up of 200 steps (5 % of a short run), then a cosine from 1 to a fiftieth."""
    return min(1.0, max((step + 1) / 200, done * 20)) * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


@torch.no_grad()
def _follow(average: Network, network: Network, keep: float) -> None:
    mine, theirs = average.state_dict(), network.state_dict()
    floats = [name for name in mine if mine[name].is_floating_point()]
    torch._foreach_lerp_([mine[name] for name in floats], [theirs[name] for name in floats], 1 - keep)


def _read_checkpoint(path: Path, settings: TrainingSettings) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        kept: Mapping[str, Any] = torch.load(path, weights_only=True)
        residuals = tuple(kept["residuals"])
    except Exception as error:  # a file cut short fails in zipfile, pickle or torch, each with its own class
        raise DataError(f"{path} cannot be read as a checkpoint. Move it away to start again.") from error
    if residuals != settings.residuals:
        raise DataError(
            f"{path} is of another network (residual units {residuals}, here {settings.residuals}). "
            "Use the same --residuals, or another folder."
        )
    return kept


def _write_checkpoint(
    path: Path,
    network: Network,
    average: Network,
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
    epoch: int,
    spent_s: float,
) -> None:
    content = {
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "residuals": list(settings.residuals),
        "epoch": epoch,
        "spent_s": spent_s,
    }
    partial = path.with_suffix(".part")
    torch.save(content, partial)
    partial.replace(path)  # a run that dies while writing keeps the previous checkpoint


def _write_row(path: Path, row: Mapping[str, float]) -> None:
    columns = ["epoch", "rate", "face", "box", "label", "ap50_face", "ap50_mask", "ap50_any"]
    is_new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        if is_new:
            writer.writeheader()
        writer.writerow({name: row.get(name, "") for name in columns})
