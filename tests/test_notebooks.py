"""The notebooks run from top to bottom, one after the other in one kernel, and are kept without what they printed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs wildsat[dev]")
nbclient = pytest.importorskip("nbclient", reason="needs wildsat[dev]")

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NAMES = ["evaluate", "judge-and-map", "quickstart", "train-your-own", "your-own-area"]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One kernel for all, so that torch is imported once, in an empty folder; and that folder."""
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_core.utils import run_sync

    home = tmp_path_factory.mktemp("notebooks")
    manager = AsyncKernelManager(kernel_name="python3", connection_file=str(home / "kernel.json"))
    root = str(FOLDER.parent)
    env = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "HOME": str(home), "PYTHONWARNINGS": "default"}
    run_sync(manager.start_kernel)(env=env, cwd=str(home))
    yield manager, home
    run_sync(manager.shutdown_kernel)(now=True)


def test_the_notebooks_are_these():
    assert [path.stem for path in NOTEBOOKS] == NAMES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_output(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, kernel):
    notebook = nbformat.read(path, as_version=4)
    if (needs := notebook.metadata.get("wildsat", {}).get("needs")) and not os.environ.get(needs):
        pytest.skip(f"needs the folder named by {needs}")
    manager, home = kernel
    client = nbclient.NotebookClient(notebook, km=manager, timeout=120, resources={"metadata": {"path": str(home)}})
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))  # what the one before defined
    try:
        client.execute()
    finally:
        client.kc.stop_channels()
