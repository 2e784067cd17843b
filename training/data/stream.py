"""From a training set on disk to batches: which pairs, in which order, read by worker processes.

Everything drawn at random depends on the seed, the epoch and the position in it alone, never on which process reads it.
So any number of workers and ranks gives the same batches, and a run can go on in the middle of an epoch.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from training.data.pixels import PixelReader, Window
from training.data.tables import SPLITS, Ints, TrainingSet
from wildsat_core.errors import InvalidInputError, SourceError, TrainingError, WildsatError

Order = Literal["pairs", "groups"]
MOST_ATTEMPTS = 20
# Pictures read before the share of damaged ones is judged; an epoch or the run if that is shorter.
FIRST_VERDICT = 1000


class Key(NamedTuple):
    """One place in one epoch's order, and the pair that stands there."""

    epoch: int
    position: int
    pair: int


@dataclass(slots=True)
class Batch:
    """B pairs. Row i of every tensor is one pair.

    Attributes:
        anchor: (B, C, H, W) as stored.
        positive: (B, C, H, W), another date of the same ground where there is one.
        text: (B, E) embeddings before the model's head.
        lon_lat: (B, 2) degrees, of the sighting.
        place: (B,) row of the place.
        text_row: (B,) row of the text.
        species: (B,) number of the species.
        cell: (B,) cell of ground.
        damaged: messages about pictures that could not be read and were replaced by other pairs'.
        reads: how many pictures were asked for.
    """

    anchor: torch.Tensor
    positive: torch.Tensor
    text: torch.Tensor
    lon_lat: torch.Tensor
    place: torch.Tensor
    text_row: torch.Tensor
    species: torch.Tensor
    cell: torch.Tensor
    damaged: list[str] = field(default_factory=list)
    reads: int = 0

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in memory that copies to a GPU in the background."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        return replace(
            self,
            anchor=change(self.anchor),
            positive=change(self.positive),
            text=change(self.text),
            lon_lat=change(self.lon_lat),
            place=change(self.place),
            text_row=change(self.text_row),
            species=change(self.species),
            cell=change(self.cell),
        )


@dataclass(slots=True)
class _Sample:
    anchor: npt.NDArray[np.generic]
    positive: npt.NDArray[np.generic]
    pair: int
    damaged: list[str]
    reads: int


class PairDataset(Dataset[Batch]):
    """Reads pairs; a damaged picture is named and another pair takes its place, so that batches keep their size."""

    def __init__(self, source: TrainingSet, rows: Ints, reader: PixelReader, seed: int, *, other_date: bool) -> None:
        """Take what workers need out of the tables, as arrays that processes share.

        Args:
            source: the data set.
            rows: the pairs of the part that is read; replacements are drawn from them.
            reader: of pictures.
            seed: of choices of other dates and replacements.
            other_date: read a second picture as the positive; otherwise it is the anchor's.
        """
        self._reader, self._rows, self._seed, self._other_date = reader, rows, seed, other_date
        self._paths = source.places.column("path").combine_chunks()
        self._windows = source.places.column("window").combine_chunks()
        self._place, self._text = source.column("pairs", "place"), source.column("pairs", "text")
        self._lon_lat = np.stack([source.column("pairs", "lon"), source.column("pairs", "lat")], 1).astype(np.float32)
        self._cell = source.column("places", "cell")
        self._sites = _Sites(source.column("places", "site"), source.column("places", "split"))
        self._species = species_numbers(source)
        self._embeddings = source.embeddings()

    def __getitems__(self, keys: list[Key]) -> Batch:
        """Read one batch."""
        samples = [self._sample(key) for key in keys]
        pairs = np.array([s.pair for s in samples])
        places, texts = self._place[pairs], self._text[pairs]
        return Batch(
            anchor=_stack([s.anchor for s in samples]),
            positive=_stack([s.positive for s in samples]),
            text=torch.from_numpy(np.stack([self._embeddings[row] for row in texts])),
            lon_lat=torch.from_numpy(self._lon_lat[pairs]),
            place=torch.from_numpy(places.astype(np.int64)),
            text_row=torch.from_numpy(texts.astype(np.int64)),
            species=torch.from_numpy(self._species[texts]),
            cell=torch.from_numpy(self._cell[places].astype(np.int64)),
            damaged=[message for s in samples for message in s.damaged],
            reads=sum(s.reads for s in samples),
        )

    def belonging(self, places: Ints, texts: Ints) -> npt.NDArray[np.bool_]:
        """(N, T), true where a pair of this part has the text at the place, be it with a picture of another date."""
        count = int(self._text.max()) + 1  # of texts, so that a site and a text make one number
        paired = self._sites.number[self._place[self._rows]] * count + self._text[self._rows]
        return np.isin(self._sites.number[places][:, None] * count + texts[None, :], paired)

    def _sample(self, key: Key) -> _Sample:
        random = np.random.default_rng((self._seed, key.epoch, key.position))
        damaged: list[str] = []
        pair, reads = key.pair, 0
        for _ in range(MOST_ATTEMPTS):
            place = int(self._place[pair])
            other = self._sites.other(place, random) if self._other_date else place
            try:
                reads += 1
                anchor = self._read(place)
                reads += other != place
                positive = anchor if other == place else self._read(other)
            except SourceError as err:
                damaged.append(str(err))
                pair = int(random.choice(self._rows))
                continue
            return _Sample(anchor, positive, pair, damaged, reads)
        raise TrainingError(f"{MOST_ATTEMPTS} pictures in a row can't be read, the last: {damaged[-1]}")

    def _read(self, place: int) -> npt.NDArray[np.generic]:
        window = self._windows[place].as_py()
        return self._reader.read(self._paths[place].as_py(), None if window is None else _window(window))


class EpochBatches(Sampler[list[Key]]):
    """The keys of this rank's batches, from one optimiser step to the next, over as many epochs as it takes."""

    def __init__(
        self,
        rows: Ints,
        groups: npt.NDArray[np.int64],
        *,
        batch: int,
        ranks: int,
        rank: int,
        order: Order,
        seed: int,
    ) -> None:
        """Plan; `limit` says which batches are wanted.

        Args:
            rows: pairs of this part.
            groups: their groups.
            batch: pairs in a batch of one rank.
            ranks: number of processes.
            rank: this one's.
            order: "pairs" takes every pair once an epoch, "groups" one pair of every group.
            seed: of the order.

        Raises:
            InvalidInputError: there are fewer pairs than one batch over all ranks takes.
        """
        self._rows, self._batch, self._ranks, self._rank = rows, batch, ranks, rank
        self._order, self._seed, self._first, self._last = order, seed, 0, 0
        self._by_group = np.argsort(groups, kind="stable")
        _, self._group_start, self._group_size = np.unique(
            groups[self._by_group], return_index=True, return_counts=True
        )
        self.per_epoch = (len(rows) if order == "pairs" else len(self._group_start)) // (batch * ranks)
        if self.per_epoch < 1:
            raise InvalidInputError(
                f"a batch of {batch} on {ranks} ranks is larger than the {len(rows)} pairs "
                f"({len(self._group_start)} groups) of the training part; make run.batch smaller",
                "run.batch",
            )

    def limit(self, first: int, last: int) -> None:
        """Give batches number `first` to `last` - 1, counted from the start of the run."""
        self._first, self._last = first, max(first, last)

    def __len__(self) -> int:
        """Number of batches left."""
        return self._last - self._first

    def __iter__(self) -> Iterator[list[Key]]:
        """Keys of one batch after another."""
        epoch, order = -1, np.empty(0, np.int64)
        for number in range(self._first, self._last):
            if number // self.per_epoch != epoch:
                epoch = number // self.per_epoch
                order = self._epoch_order(epoch)
            start = (number % self.per_epoch * self._ranks + self._rank) * self._batch
            yield [Key(epoch, p, int(order[p])) for p in range(start, start + self._batch)]

    def _epoch_order(self, epoch: int) -> Ints:
        random = np.random.default_rng((self._seed, epoch))
        if self._order == "pairs":
            return random.permutation(self._rows)
        chosen = self._group_start + random.integers(0, self._group_size)
        return random.permutation(self._rows[self._by_group[chosen]])


class DamageCount:
    """Counts damaged pictures and stops the run when they are too many."""

    def __init__(self, most_share: float, pictures: int) -> None:
        """Allow `most_share` of pictures to be damaged; so many are read at least, and then the share is judged."""
        self._most_share, self._verdict = most_share, min(FIRST_VERDICT, pictures)
        self.messages: dict[str, int] = {}
        self.reads = 0

    @property
    def damaged(self) -> int:
        """How many reads failed."""
        return sum(self.messages.values())

    def add(self, damaged: list[str], reads: int) -> list[str]:
        """Count reads and the messages of those that failed, and give the messages that are new.

        Raises:
            TrainingError: more than the allowed share is damaged.
        """
        self.reads += reads
        new = [m for m in dict.fromkeys(damaged) if m not in self.messages]
        for message in damaged:
            self.messages[message] = self.messages.get(message, 0) + 1
        if self.reads >= self._verdict and self.damaged > self._most_share * self.reads:
            shown = "; ".join(list(self.messages)[:5])
            raise TrainingError(
                f"{self.damaged} of {self.reads} pictures can't be read, more than data.most_damaged = "
                f"{self._most_share:g} allows: {shown}"
            )
        return new


def batch_loader(data: PairDataset, batches: EpochBatches, *, workers: int, pin: bool) -> Generator[Batch, None, None]:
    """Batches in order, read ahead by worker processes, which start at once and end when the generator is closed.

    Raises:
        WildsatError: what reading raised, as it was raised in the worker.
    """
    loader = DataLoader(
        _Answers(data),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_as_it_is,  # type: ignore[arg-type] # __getitems__ gives whole batches
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_signals_to_the_main_process,
    )
    return _batches_of(iter(loader))


def _batches_of(answers: Iterator[Batch | WildsatError]) -> Generator[Batch, None, None]:
    try:
        for answer in answers:
            if isinstance(answer, WildsatError):
                raise answer
            yield answer
    finally:
        # Python ends what is left of its children by SIGTERM, and these ignore it: they are told before.
        end_workers = getattr(answers, "_shutdown_workers", None)
        if end_workers is not None:
            end_workers()


class _Answers(Dataset[Batch | WildsatError]):
    """Batches, or in place of one why it can't be had: an error raised in a worker would arrive as its traceback."""

    def __init__(self, data: PairDataset) -> None:
        self._data = data

    def __getitems__(self, keys: list[Key]) -> Batch | WildsatError:
        try:
            return self._data.__getitems__(keys)
        except WildsatError as err:
            return err


def _leave_signals_to_the_main_process(_worker: int) -> None:
    """A terminal, systemd and torchrun signal all processes of a run; the main one still needs batches to stop well."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def species_numbers(source: TrainingSet) -> npt.NDArray[np.int64]:
    """(T,) a number for each text's species; texts without one get numbers of their own."""
    names: dict[str, int] = {}
    numbers = np.empty(len(source.texts), np.int64)
    for row, name in enumerate(source.texts.column("species").to_pylist()):
        numbers[row] = names.setdefault(name, len(names)) if name else -1 - row
    return numbers


class _Sites:
    """Which places of one part show the same ground: those of one number."""

    def __init__(self, sites: npt.NDArray[np.int64], splits: npt.NDArray[np.object_]) -> None:
        # A table made elsewhere may have one site in two parts; here these are two, so that nothing held out is read.
        sites = sites * (len(SPLITS) + 1) + np.unique(splits, return_inverse=True)[1]
        self._order = np.argsort(sites, kind="stable")
        _, self.number, self._size = np.unique(sites, return_inverse=True, return_counts=True)
        self._start = np.concatenate([[0], np.cumsum(self._size)[:-1]])

    def other(self, place: int, random: np.random.Generator) -> int:
        """Another place of the same site and part at random, the place itself if there is none."""
        site = self.number[place]
        if self._size[site] == 1:
            return place
        members = self._order[self._start[site] : self._start[site] + self._size[site]]
        return int(random.choice(members[members != place]))


def _as_it_is(answer: Batch | WildsatError) -> Batch | WildsatError:
    return answer


def _window(values: list[int]) -> Window:
    left, top, width, height = values
    return left, top, width, height


def _stack(pictures: list[npt.NDArray[np.generic]]) -> torch.Tensor:
    """(B, C, H, W) uint8, or float32 for deeper pixels."""
    shapes = {p.shape for p in pictures}
    if len(shapes) > 1:
        raise InvalidInputError(
            f"pictures of one batch differ in shape: {sorted(shapes)}; set data.tile_px to bring them to one size",
            "data.tile_px",
        )
    stacked = np.stack(pictures)
    return torch.from_numpy(stacked if stacked.dtype == np.uint8 else stacked.astype(np.float32))
