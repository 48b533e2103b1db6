"""gunicorn, uWSGI, Celery, multiprocessing, set up as docs/guide/gunicorn.md says: an engine in each process."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest
import requests

from saga_es.store.database import Database
from saga_es.store.workers import Workers
from tests.e2e.conftest import TIMEOUT_S, environment
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "guide" / "gunicorn.md").read_text()
FILES = dict(re.findall(r"^`(\w+\.py)`:\n\n```python\n(.*?)```", PAGE.replace(". `", ".\n`"), re.MULTILINE | re.DOTALL))
SERVERS = dict(re.findall(r"^\| ([^|]+) \| `((?:gunicorn|uwsgi) [^`]+)` \|$", PAGE, re.MULTILINE))
USED_BEFORE = "\nassert sagas.engine.start(order).result(10).of(reserve) == os.getpid()\n"
"""What an application may do while it is loaded: then its engine is open before the fork."""

ORDERS = 8


@contextmanager
def running(command: list[str], folder: Path, **settings: str) -> Iterator[Callable[[], str]]:
    """A server, and all that it has said; it is asked to end as a system does it, and must."""
    said = folder / "said"
    env = environment(PYTHONPATH=os.pathsep.join([str(ROOT), *sys.path[1:]]), **settings)
    with said.open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield said.read_text
        process.send_signal(signal.SIGINT if "uwsgi" in command[0] else signal.SIGTERM)
        process.wait(TIMEOUT_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(found: Callable[[], object], said: Callable[[], str]) -> None:
    deadline = monotonic() + 2 * TIMEOUT_S
    while not found():
        assert monotonic() < deadline, said()
        sleep(0.05)


def left(url: str) -> int:
    """How many workers said no goodbye: they count as gone, and others have to take over."""
    database = Database(url)
    try:
        return len(Workers(database).heartbeats())
    finally:
        database.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def answers(url: str) -> bool:
    try:
        return bool(requests.get(url, timeout=TIMEOUT_S).status_code == requests.codes.not_found)
    except requests.ConnectionError:
        return False


def command_of(server: str, port: int) -> list[str]:
    program, *options = shlex.split(SERVERS[server])
    if program == "gunicorn":
        return [sys.executable, "-m", program, "--bind", f"127.0.0.1:{port}", *options]
    there = shutil.which(program)
    if there is None:
        pytest.skip("uWSGI is not installed, and has to be compiled: pip install uwsgi")
    return [there, *(f"127.0.0.1{option[:1]}{port}" if option == ":8000" else option for option in options)]


@pytest.mark.parametrize("used_before", ["", USED_BEFORE], ids=["loaded", "used"])
@pytest.mark.parametrize("server", SERVERS)
def test_each_process_of_a_server_runs_the_sagas_that_it_starts(
    database_url: str, tmp_path: Path, server: str, used_before: str
) -> None:
    """Whether the application was loaded, or its sagas used, before the fork; and all say goodbye."""
    (tmp_path / "shop.py").write_text(FILES["shop.py"] + used_before)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(command_of(server, port), tmp_path, SAGA_ES_DATABASE_URL=database_url) as said:
        until(lambda: answers(url), said)
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda _: requests.post(f"{url}/orders", timeout=TIMEOUT_S), range(ORDERS)))
        assert [answer.status_code for answer in found] == [200] * ORDERS, said()
        assert all(answer.json()["served"] == answer.json()["worked"] for answer in found)
    assert "Traceback" not in said()
    masters_is_left = "uWSGI, loaded before" in server and used_before  # its master runs no `atexit`
    until(lambda: left(database_url) == (1 if masters_is_left else 0), said)


def test_the_page_has_a_set_up_for_each_server() -> None:
    """Those that are tested are those of the page."""
    assert set(FILES) == {"shop.py", "tasks.py"}
    assert [command.split()[0] for command in SERVERS.values()] == ["gunicorn"] * 3 + ["uwsgi"] * 2
    assert "--preload" in str(SERVERS)


def a_broker(folder: Path) -> str:
    """Celery's settings for a broker that is a folder: no server has to run."""
    place = f"'data_folder_in': {str(folder / 'queue')!r}, 'data_folder_out': {str(folder / 'queue')!r}"
    (folder / "queue").mkdir()
    (folder / "control").mkdir()
    return f"\napp.conf.broker_transport_options = {{{place}, 'control_folder': {str(folder / 'control')!r}}}\n"


def place_orders(folder: Path, url: str) -> None:
    env = environment(PYTHONPATH=os.pathsep.join([str(ROOT), *sys.path[1:]]), SAGA_ES_DATABASE_URL=url)
    env["BROKER"] = "filesystem://"
    program = f"import tasks; [tasks.place.delay(number) for number in range({ORDERS})]"
    subprocess.run([sys.executable, "-c", program], cwd=folder, env=env, check=True, timeout=2 * TIMEOUT_S)


CELERY = [sys.executable, "-m", *shlex.split(re.findall(r"^(celery .*)$", PAGE, re.MULTILINE)[0])]


def test_each_process_of_celerys_pool_runs_the_sagas_that_it_starts(database_url: str, tmp_path: Path) -> None:
    """They are opened after the fork, by Celery's signal, and closed by another."""
    (tmp_path / "tasks.py").write_text(FILES["tasks.py"] + a_broker(tmp_path))
    place_orders(tmp_path, database_url)
    with running(CELERY, tmp_path, SAGA_ES_DATABASE_URL=database_url, BROKER="filesystem://") as said:
        until(lambda: len(placed(said())) == ORDERS, said)
    assert all(by == at for by, at in placed(said())), said()
    assert "Traceback" not in said()
    until(lambda: not left(database_url), said)


def placed(said: str) -> list[tuple[str, str]]:
    return re.findall(r"placed by (\d+) worked by (\d+)", said)


def test_celery_with_an_engine_of_the_parent_is_told_at_once_what_to_do(database_url: str, tmp_path: Path) -> None:
    """Opened when the module is loaded, before the fork: each task fails with the cure, and waits for nothing."""
    eager = "\nimport sys\nif 'worker' in sys.argv:\n    open_()\n    worker_process_init.disconnect(open_)\n"
    (tmp_path / "tasks.py").write_text(FILES["tasks.py"] + a_broker(tmp_path) + eager)
    place_orders(tmp_path, database_url)
    with running(CELERY, tmp_path, SAGA_ES_DATABASE_URL=database_url, BROKER="filesystem://") as said:
        until(lambda: said().count("Celery: worker_process_init") >= ORDERS, said)
    assert placed(said()) == []
    assert "not committed within" not in said()


def test_multiprocessing_has_an_engine_in_each_child(database_url: str, tmp_path: Path) -> None:
    """Forked or spawned; none is left behind."""
    program = PAGE.rpartition("```python\n")[2].partition("```")[0].replace("sqlite:///saga_es.db", database_url)
    (tmp_path / "many.py").write_text(program)
    env = environment(PYTHONPATH=os.pathsep.join([str(ROOT), *sys.path[1:]]))
    done = subprocess.run(
        [sys.executable, "many.py"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.stdout, done.stderr) == ("fork [True, True, True, True]\nspawn [True, True, True, True]\n", "")
    assert not left(database_url)
