"""Settings on the command line: all that is wrong at once, and no secret shown."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.conftest import assert_refused, run_cli


def test_a_password_is_never_printed() -> None:
    """Not even when the database cannot be reached."""
    done = run_cli("list", "--database-url", "postgresql://nobody:hunter2@127.0.0.1:1/none", "--log-level", "debug")
    assert "hunter2" not in done.stdout + done.stderr


def test_all_bad_settings_are_reported_at_once() -> None:
    """Flags and variables, each on a line that names it; exit code 2."""
    settings = {
        "SAGA_ES_LEASE_S": "soon",
        "SAGA_ES_PAYLOAD_LIMIT": "1",
        "SAGA_ES_PARTICIPANT_VENUE": "not a url",
        "SAGA_ES_PARTICIPANT_TICKET": "ftp://127.0.0.1",
    }
    done = run_cli("serve", "--port", "99999", "--threads", "none", "--log-level", "loud", settings=settings)
    assert_refused(done, 2)
    lines = done.stderr.splitlines()
    for name in ("--port", "--threads", "--log-level", *settings):
        assert sum(name in line for line in lines) == 1, (name, lines)


def test_a_bad_database_url_is_reported_with_the_other_bad_settings() -> None:
    """It is a setting like the others: one round is enough to learn them all."""
    done = run_cli("serve", "--port", "99999", "--database-url", "oracle://somewhere/x")
    assert_refused(done, 2)
    assert "--port" in done.stderr
    assert "database-url" in done.stderr


def test_a_password_in_the_list_of_processes_is_warned_of(tmp_path: Path) -> None:
    """Every user of the machine reads it there; the warning does not repeat it. A file shows nothing."""
    (tmp_path / "url").write_text("postgresql://ada:hunter2@127.0.0.1:1/x")
    in_flag = run_cli("list", "--database-url", "postgresql://ada:hunter2@127.0.0.1:1/x")
    before_command = run_cli("--database-url=postgresql://ada:hunter2@127.0.0.1:1/x", "list")
    in_file = run_cli("list", "--database-url-file", str(tmp_path / "url"))
    in_variable = run_cli("list", settings={"SAGA_ES_DATABASE_URL": "postgresql://ada:hunter2@127.0.0.1:1/x"})
    for done in (in_flag, before_command, in_file, in_variable):
        assert done.returncode == 8, done.stderr
        assert "hunter2" not in done.stdout + done.stderr
    warning = "the secret of --database-url stands in the list of processes"
    assert [warning in " ".join(done.stderr.split()) for done in (in_flag, before_command, in_file, in_variable)] == [
        True,
        True,
        False,
        False,
    ]
