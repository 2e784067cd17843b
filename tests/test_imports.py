"""What importing the core costs; who may import whom is kept by import-linter, in `make lint`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEAVY = ["torch", "transformers", "faiss", "rasterio", "shapely", "pyarrow", "timm", "fastapi"]


def test_importing_the_core_loads_nothing_heavy():
    code = (
        "import sys, wildsat_core, wildsat_core.types, wildsat_core.errors, wildsat_core.geo, wildsat_core.area;"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"
