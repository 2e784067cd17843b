"""A table of results over models, with intervals: for people, as JSON, as LaTeX, and as a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from training.evaluation.measures import bootstrap_interval
from wildsat_core.files import write_text_atomically

_LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
          "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}  # fmt: skip

Values = NDArray[np.float64]

MOST_COLUMNS = 4  # of measures, before a table is turned
DRAWS = 300  # bootstrap, of what is measured over all pictures together
CELLS = 4_000_000  # of an array of draws and pictures, at a time


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured share.

    Attributes:
        value: mean over what was asked.
        interval: 95 %, bootstrap over what was asked.
        count: how many were asked.
    """

    value: float
    interval: tuple[float, float]
    count: int

    @classmethod
    def of(cls, right: NDArray[np.float64]) -> Figure:
        """The mean of (N,) shares, 1 for right."""
        low, high = bootstrap_interval(right)
        return cls(round(float(right.mean()), 4), (round(low, 4), round(high, 4)), len(right))

    @classmethod
    def of_all(cls, measure: Callable[[Values], Values], count: int, cells: int = 1) -> Figure:
        """What is measured over all pictures together, as mean average precision.

        Args:
            measure: from weights (D, N), how often each picture counts, to (D,) values; NaN where there is none.
            count: N.
            cells: numbers that the measure keeps for a weight, which bounds how many draws are made at a time.
        """
        random, block = np.random.default_rng(0), max(1, CELLS // (count * cells))
        values: list[Values] = []
        for start in range(0, DRAWS, block):
            rows = min(block, DRAWS - start)
            drawn = [np.bincount(random.integers(count, size=count), minlength=count) for _ in range(rows)]
            values.append(measure(np.array(drawn, np.float64)))
        low, high = np.nanquantile(np.concatenate(values), [0.025, 0.975])
        value = float(measure(np.ones((1, count)))[0])
        return cls(round(value, 4), (round(float(low), 4), round(float(high), 4)), count)


@dataclass(frozen=True, slots=True)
class Results:
    """An experiment's figures.

    Attributes:
        title: what was measured.
        figures: by model, then by measure; a measure that a model lacks is left out.
        about: of data and settings, for whoever repeats it.
        least: measures of which the least is best, as errors.
    """

    title: str
    figures: dict[str, dict[str, Figure]]
    about: dict[str, Any]
    least: tuple[str, ...] = ()

    @property
    def measures(self) -> list[str]:
        """Names of all measures, in the order in which they first appear."""
        return list(dict.fromkeys(name for row in self.figures.values() for name in row))

    def table(self) -> Table:
        """For people: a row for each model, or where there are many measures a row for each of these."""
        table = Table(title=self.title)
        if len(self.measures) > MOST_COLUMNS:
            table.add_column("")
            for model in self.figures:
                table.add_column(model, justify="right")
            for name in self.measures:
                table.add_row(name, *(_shown(row.get(name)) for row in self.figures.values()))
            return table
        table.add_column("model")
        for name in self.measures:
            table.add_column(name, justify="right")
        for model, row in self.figures.items():
            table.add_row(model, *(_shown(row.get(name)) for name in self.measures))
        return table

    def latex(self) -> str:
        """A tabular for booktabs; the best of each column in bold."""
        best = {
            name: (min if name in self.least else max)(row[name].value for row in self.figures.values() if name in row)
            for name in self.measures
        }
        lines = [rf"\begin{{tabular}}{{l{'r' * len(self.measures)}}}", r"\toprule"]
        lines.append(" & ".join(["model", *map(_escaped, self.measures)]) + r" \\")
        lines.append(r"\midrule")
        for model, row in self.figures.items():
            cells = [_latex_cell(row.get(name), best[name]) for name in self.measures]
            lines.append(" & ".join([_escaped(model), *cells]) + r" \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"

    def write(self, folder: Path, name: str) -> list[Path]:
        """Write `<name>.json`, `.tex` and `.png`.

        Returns:
            Their paths.
        """
        folder.mkdir(parents=True, exist_ok=True)
        json_file, tex, plot = (folder / f"{name}.{ending}" for ending in ("json", "tex", "png"))
        write_text_atomically(json_file, json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")
        write_text_atomically(tex, self.latex())
        self._draw(plot)
        return [json_file, tex, plot]

    def _draw(self, path: Path) -> None:
        from matplotlib.figure import Figure as Canvas

        names, models = self.measures, list(self.figures)
        canvas = Canvas(figsize=(2.5 + 0.9 * len(names) * max(1, len(models) / 3), 4), layout="constrained")
        axes = canvas.subplots()
        width = 0.8 / len(models)
        for number, model in enumerate(models):
            row = self.figures[model]
            shown = [(i, row[name]) for i, name in enumerate(names) if name in row]
            places = [i + (number - (len(models) - 1) / 2) * width for i, _ in shown]
            values = [figure.value for _, figure in shown]
            reach = [[f.value - f.interval[0] for _, f in shown], [f.interval[1] - f.value for _, f in shown]]
            axes.bar(places, values, width, label=model, yerr=np.maximum(reach, 0), capsize=2)
        axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
        axes.set(ylim=(0, max(1, *axes.get_ylim())), title=self.title)
        axes.legend(fontsize="small")
        canvas.savefig(path, dpi=120)


def _shown(figure: Figure | None) -> str:
    if figure is None:
        return ""
    low, high = figure.interval
    return f"{figure.value:.3f} ({low:.3f}-{high:.3f})"


def _latex_cell(figure: Figure | None, best: float) -> str:
    if figure is None:
        return "--"
    half = (figure.interval[1] - figure.interval[0]) / 2
    value = rf"\textbf{{{figure.value:.3f}}}" if figure.value == best else f"{figure.value:.3f}"
    return rf"{value} $\pm$ {half:.3f}"


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
