"""A real Prometheus scrapes two workers: every query of board and rules has data, and a killed worker is noticed."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import requests
import yaml

from saga_es.metrics.gauges import GAUGES
from saga_es.metrics.series import PREFIX, described
from services.demo import SHOW
from tests.deploy.test_files import DEPLOY
from tests.e2e.conftest import TIMEOUT_S, environment
from tests.e2e.test_probes import free_port
from tests.support import processes
from tests.support.databases import fresh_database
from tests.support.left_out import left_out
from tests.support.participants import Participant, Says
from tests.support.trips import until

RULES = DEPLOY / "prometheus" / "saga_es.rules.yml"
BOARD = DEPLOY / "grafana" / "dashboards" / "saga_es.json"
NAME = re.compile(rf"\b{PREFIX}_[a-z_]+")
MADE_OF_HISTOGRAMS = ("_bucket", "_sum", "_count")


def tool(name: str) -> str:
    """The path of a program of Prometheus."""
    found = shutil.which(name)
    if found is None:
        left_out("Prometheus", f"there is no `{name}`")
    return found


def rules() -> list[dict[str, Any]]:
    """All rules: those that record, and those that alert."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries_of_the_board() -> list[str]:
    """Every query of every panel, for all definitions."""
    panels = json.loads(BOARD.read_text())["panels"]
    return [target["expr"].replace("$saga", ".*") for panel in panels for target in panel.get("targets", [])]


def test_the_rules_do_what_their_tests_say() -> None:
    """By promtool: rules, alerts and configuration."""
    promtool = tool("promtool")
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "saga_es.rules.test.yml"]):
        done = subprocess.run(
            [promtool, *command], cwd=RULES.parent, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_in_rules_and_board_exists() -> None:
    """A metric that is renamed shows here, not in a board that stays empty."""
    names = set(described()) | {f"{PREFIX}_{name}" for name in GAUGES}
    asked = " ".join([*queries_of_the_board(), *(rule["expr"] for rule in rules())])
    found = {re.sub(f"({'|'.join(MADE_OF_HISTOGRAMS)})$", "", name) for name in NAME.findall(asked)}
    assert found - {PREFIX} <= names
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert set(re.findall(rf"{PREFIX}:[a-z0-9_:]+", asked)) <= recorded


class Watched:
    """Two workers on one database, and a Prometheus that scrapes them twice a second."""

    def __init__(self, folder: Path, database_url: str, stack: ExitStack) -> None:
        self.ports = [free_port() for _ in range(2)]
        hook = stack.enter_context(Participant(lambda _: Says(204)))
        env = environment(SAGA_ES_DATABASE_URL=database_url, SAGA_ES_APP="services", SAGA_ES_LEASE_S="2")
        env |= {"SAGA_ES_WEBHOOK": hook.url, "SAGA_ES_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
        self.workers = [self._worker(port, env, stack) for port in self.ports]
        self._env = env
        self.url = f"http://127.0.0.1:{free_port()}"
        self._prometheus(folder, stack)

    def _worker(self, port: int, env: dict[str, str], stack: ExitStack) -> processes.Process:
        process, saying = processes.start("saga_es", "worker", "--health-port", str(port), cwd=processes.ROOT, env=env)
        stack.callback(saying.close)
        stack.callback(process.wait, TIMEOUT_S)
        stack.callback(process.send_signal, signal.SIGKILL)
        assert any(line.startswith("Working as") for line in saying)
        return process

    def _prometheus(self, folder: Path, stack: ExitStack) -> None:
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
        config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in self.ports]}]
        quick = yaml.safe_load(RULES.read_text())
        for rule in (rule for group in quick["groups"] for rule in group["rules"] if "for" in rule):
            rule["for"] = "1s"  # the test does not wait for a minute; everything else is as it stands
        (folder / "saga_es.rules.yml").write_text(yaml.safe_dump(quick))
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(process.wait, TIMEOUT_S)
        stack.callback(process.kill)
        until(lambda: _answers(f"{self.url}/-/ready"))

    def verify(self) -> None:
        """Verify log and views, as a timer would."""
        done = processes.run("saga_es", "verify", cwd=processes.ROOT, env=self._env, timeout=TIMEOUT_S)
        assert done.returncode == 0, done.stderr

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an expression, now."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=TIMEOUT_S).json()
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def firing(self) -> set[str]:
        """The alerts that fire."""
        return {sample["metric"]["alertname"] for sample in self.query('ALERTS{alertstate="firing"}')}

    def start_sagas(self, number: int, **input_: object) -> None:
        """Start sagas of the demonstration; the workers claim them."""
        for _ in range(number):
            given = json.dumps({**SHOW, "fail_at_step": None, **input_})
            command = ("saga_es", "start", "create-event", given)
            done = processes.run(*command, cwd=processes.ROOT, env=self._env, timeout=TIMEOUT_S)
            assert done.returncode == 0, done.stderr


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=TIMEOUT_S).status_code == 200
    except requests.ConnectionError:
        return False


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Two workers on PostgreSQL, under the eyes of Prometheus."""
    tool("prometheus")
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database("postgresql", tmp_path))
        yield Watched(tmp_path, url, stack)


def eventually(is_so: Callable[[], object], timeout_s: float = 60.0) -> bool:
    """Whether something becomes so; it is looked at again and again."""
    deadline = monotonic() + timeout_s
    while monotonic() < deadline:
        if is_so():
            return True
    return False


def test_board_and_rules_have_data_and_a_killed_worker_raises_the_alert(watched: Watched) -> None:
    """Under load, on PostgreSQL."""
    watched.verify()
    watched.start_sagas(3)
    watched.start_sagas(2, fail_at_step="venue")
    assert eventually(lambda: watched.query('saga_es_sagas_ended_total{status="COMPENSATED"}'))
    watched.start_sagas(3)  # a rate needs two scrapes of a counter
    watched.start_sagas(1, fail_at_step="venue")
    recorded = [rule["record"] for rule in rules() if "record" in rule]
    only_at_trouble = ("step_retries", "open_sagas", "http_request")  # nothing is retried or open here, or served
    for expression in [*recorded, *queries_of_the_board()]:
        if not any(words in expression for words in only_at_trouble):
            assert eventually(partial(watched.query, expression)), expression
    assert not watched.firing() & {"WorkerGone", "NoWorker", "DatabaseAway", "SagasWaitForAWorker"}
    watched.workers[0].send_signal(signal.SIGKILL)
    assert eventually(lambda: "WorkerGone" in watched.firing())
    assert eventually(lambda: watched.query("max(saga_es_workers_alive) == 1"))
