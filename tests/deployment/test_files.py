"""Files of deployment are held to the code that they name."""

import json
import re
from pathlib import Path

from app.main import create_app
from app.settings import Settings
from tests.app.conftest import ToyModel, toy_settings
from wildsat_core import __version__

ROOT = Path(__file__).parents[2]
METRIC = re.compile(r"\bwildsat_[a-z_]+")


def published_metrics(tmp_path: Path) -> set[str]:
    """Names of the series that the service publishes, after one search."""
    metrics = create_app(toy_settings(tmp_path), lambda name: ToyModel()).state.metrics
    metrics.requests.labels("/search", "GET", 200).observe(0.1)
    metrics.observe_stages({"scan": 0.1})
    return set(METRIC.findall(metrics.render().decode()))


def test_dashboard_and_alerts_use_only_published_metrics(tmp_path: Path) -> None:
    dashboard = json.loads((ROOT / "docker/grafana/dashboards/wildsat.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    used = set(METRIC.findall("\n".join(expressions)))
    alerts = (ROOT / "docker/prometheus/alerts.yml").read_text()
    used |= set(METRIC.findall("\n".join(line for line in alerts.splitlines() if "summary" not in line)))
    assert len(used) >= 5
    assert used - published_metrics(tmp_path) == set()


def test_images_carry_the_version_of_the_program() -> None:
    assert f"ARG VERSION={__version__}\n" in (ROOT / "docker/Dockerfile").read_text()


def test_every_variable_of_the_images_is_known_to_the_program() -> None:
    code = "\n".join(path.read_text() for room in ("app", "wildsat_core") for path in (ROOT / room).rglob("*.py"))
    known = {f"WILDSAT_{name.upper()}" for name in Settings.model_fields} | set(re.findall(r"WILDSAT_[A-Z_]+", code))
    set_in_image = set(re.findall(r"^ .*?(WILDSAT_[A-Z_]+)=", (ROOT / "docker/Dockerfile").read_text(), re.MULTILINE))
    assert set_in_image
    assert set_in_image <= known


def test_every_variable_of_compose_is_documented() -> None:
    documented = (ROOT / "docs/running.md").read_text()
    variables = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert [name for name in sorted(variables) if f"`{name}`" not in documented] == []


def test_every_alert_is_documented() -> None:
    documented = (ROOT / "docs/running.md").read_text()
    alerts = re.findall(r"alert: (\w+)", (ROOT / "docker/prometheus/alerts.yml").read_text())
    assert alerts
    assert [name for name in alerts if f"`{name}`" not in documented] == []
