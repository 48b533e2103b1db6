"""`saga-es publish`: a process that publishes, and does nothing else."""

from __future__ import annotations

import signal
from pathlib import Path

from saga_es import App
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.publishers import Publishers
from tests.brokers.test_published import TIMEOUT_S, here
from tests.e2e.conftest import environment, run_cli
from tests.support import processes
from tests.support.errands import errand
from tests.support.published import by_stream, in_log, in_order
from tests.support.trips import until


def test_a_publishing_process_that_is_killed_is_followed_by_another_which_leaves_nothing_out(tmp_path: Path) -> None:
    """No saga runs in it; the next one goes on where it was, once its hold is over or an operator ends it."""
    place = here("redis")
    node = Node(Settings.load({"database_url": f"sqlite:///{tmp_path}/log.db"}), App(sagas=[errand()]))
    node.open()
    handles = [node.engine.start("errand", {"ok": True}) for _ in range(300)]
    assert all(handle.result(TIMEOUT_S).completed for handle in handles)
    wanted = by_stream(in_log(node.store.log))
    settings = environment(SAGA_ES_DATABASE_URL=f"sqlite:///{tmp_path}/log.db", SAGA_ES_PUBLISH=place.url)
    first, said = processes.start("saga_es", "publish", cwd=tmp_path, env=settings)
    with said:
        assert said.readline().startswith("Publishing to redis 127.0.0.1:")
        until(place.messages, TIMEOUT_S)
        first.kill()
        first.wait(TIMEOUT_S)
    rows = Publishers(node.database)
    (left,) = rows.all()
    rows.move(left.name, left.position)  # ends the hold of the one that is gone, which is over after 30 s
    second, said = processes.start("saga_es", "publish", cwd=tmp_path, env=settings)
    with said:
        assert said.readline().startswith("Publishing to ")
        until(lambda: [row.lag for row in rows.all()] == [0], TIMEOUT_S)
        second.send_signal(signal.SIGTERM)
        assert second.wait(TIMEOUT_S) == 0
    assert in_order(place.messages()) == wanted
    assert rows.all()[0].held.holder is None, "another process can go on at once"
    node.close()


def test_there_must_be_something_to_publish_to(tmp_path: Path) -> None:
    """Else the process would do nothing, for ever; the message names what to set."""
    done = run_cli("publish", "--database-url", f"sqlite:///{tmp_path}/log.db", cwd=tmp_path)
    assert (done.returncode, "set --publish" in done.stderr) == (2, True)
    for wrong in ("ftp://ada:hunter2@x", "kafka://ada:hunter2@x"):
        done = run_cli("publish", "--publish", wrong, cwd=tmp_path)
        assert (done.returncode, "--publish / SAGA_ES_PUBLISH" in done.stderr) == (2, True)
        assert "hunter2" not in done.stderr
