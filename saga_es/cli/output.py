"""The output of the commands: tables and sentences for people, JSON for machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, assert_never

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from saga_es.cli.terminal import cell, errors, print_json, print_json_text, say, screen
from saga_es.core.describe import describe, moment, plain, short, shown, with_frame
from saga_es.core.explain import Explanation
from saga_es.core.migration import Fate, Migration
from saga_es.core.operate import Undoing
from saga_es.runtime.handle import SagaResult
from saga_es.store.drivers.finding import Finding
from saga_es.store.log.entries import Entry, Recorded, Unreadable
from saga_es.store.queries.difference import differences
from saga_es.store.queries.failures import Failures, on_the_wire
from saga_es.store.queries.pages import Page
from saga_es.store.queries.past import PastEvent
from saga_es.store.queries.story import SagaStory, StepStory
from saga_es.store.registry import Made
from saga_es.store.views.saga_view import summary

_COLOURS = {
    "COMPLETED": "green",
    "COMPENSATED": "yellow",
    "COMPENSATING": "yellow",
    "FAILED": "red",
    "IN_PROGRESS": "cyan",
    "PENDING": "cyan",
}


_VERDICTS = {"ok": "green", "warning": "yellow", "fault": "red"}


def show_list(page: Page, wanted_code: Mapping[str, str], *, as_json: bool) -> None:
    """Print a page of sagas; `wanted_code` says what those wait for that no living worker can run."""
    if as_json:
        rows = [summary(row, wanted_code.get(row["saga_id"])) for row in page.rows]
        print_json({"transactions": rows, "next_cursor": page.next_cursor})
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("id", "name", "status", "step", "started"):
        table.add_column(column, no_wrap=True)
    table.add_column("error", overflow="ellipsis", no_wrap=True)
    for row in page.rows:
        table.add_row(
            cell(row["saga_id"]),
            cell(row["name"]),
            _status(row["status"]),
            cell(row["current_step"] or ""),
            moment(row["created_at"]),
            cell(_waits(wanted_code.get(row["saga_id"])) or short(row["error"])),
        )
    console = screen()
    console.print(table if page.rows else "No sagas.")
    if page.next_cursor:
        errors.print(f"More with --cursor {page.next_cursor}", soft_wrap=True)


def _waits(wanted: str | None) -> str:
    return f"waits for a worker that has {wanted}" if wanted else ""


def show_failures(found: Failures, *, as_json: bool) -> None:
    """Print groups of failures."""
    if as_json:
        print_json({"groups": [on_the_wire(group) for group in found.groups], "is_complete": found.is_complete})
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("sagas", "state", "name", "step", "last", "newest"):
        table.add_column(column, no_wrap=True)
    table.add_column("error", overflow="fold")
    for group in found.groups:
        texts = (cell(group.name), cell(group.step), moment(group.last_at), cell(group.sample[0]))
        table.add_row(str(group.count), _status(group.state), *texts, cell(short(group.error)))
    screen().print(table if found.groups else "No saga needs attention.")
    if not found.is_complete:
        errors.print("Only the newest failures were read; --name and --newer-than narrow the search.")


def show_story(story: SagaStory, history: Sequence[PastEvent], *, as_json: bool) -> None:
    """Print one saga: its data, its steps, and its events in sentences."""
    if as_json:
        print_json(story)
        return
    console = screen()
    console.print(
        Text.assemble((plain(story.name), "bold"), "  ", plain(story.transaction_id), "  "), _status(story.status)
    )
    for word, about in _about(story):
        console.print(Text.assemble((f"{word}  ", "dim"), plain(about)), soft_wrap=True)
    steps = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("step", "status", "attempts", "undo attempts", "result"):
        steps.add_column(column)
    for step in story.steps:
        for row in (step, *(step.elements or ())):
            steps.add_row(*_cells(row))
    console.print(steps)
    console.print()
    _describe_all(console, history)


def show_difference(before: SagaStory, after: SagaStory, events: Sequence[PastEvent], *, as_json: bool) -> None:
    """Print the changes of a saga from one version to a later one, and the events in between."""
    changes = differences(before, after)
    if as_json:
        versions = {"from_version": before.version, "to_version": after.version}
        print_json(
            {
                "transaction_id": after.transaction_id,
                **versions,
                "changes": changes,
                "events": [_row(entry) for entry in events],
            }
        )
        return
    console = screen()
    which = f"  from version {before.version} to {after.version}"
    console.print(Text.assemble((plain(after.name), "bold"), "  ", plain(after.transaction_id), which))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("", "before", "after"):
        table.add_column(column)
    for change in changes:
        table.add_row(cell(change.path), _value(change.before), _value(change.after))
    console.print(table if changes else "Nothing changed.")
    console.print()
    _describe_all(console, events)


def _value(value: Any) -> Text:
    if value is None:
        return cell("")
    text = short(value) if isinstance(value, str) else shown(value)
    return cell(text, style=_COLOURS.get(text, ""))


def _row(entry: PastEvent) -> dict[str, Any]:
    match entry:
        case Recorded(version=version, event=event, recorded_at=at):
            return {"version": version, "type": type(event).__name__, "data": event, "recorded_at": at}
        case Unreadable(raw):
            data = msgspec.Raw(raw.text.encode())
            return {"version": raw.version, "type": raw.type, "data": data, "recorded_at": raw.recorded_at}
        case _:
            assert_never(entry)


def _describe_all(console: Console, history: Sequence[PastEvent]) -> None:
    for entry in history:
        match entry:
            case Recorded(version=version, recorded_at=at):
                sentence = describe(entry.event)
            case Unreadable(Entry(version=version, recorded_at=at) as raw, why):
                sentence = f"This version cannot read {raw.type} {short(raw.text)}: {why}"
            case _:
                assert_never(entry)
        console.print(Text.assemble((f"{version:>3}  ", "dim"), (moment(at) + "  ", "dim"), plain(sentence)))


def _about(story: SagaStory) -> Iterator[tuple[str, str]]:
    """The data of a saga beside its steps, each value with its label."""
    if story.error:
        yield "why", story.error
    if story.unreadable:
        first = story.unreadable[0]
        yield (
            "unread",
            f"this version cannot read the events from version {first.version} on ({first.type}): {first.why}",
        )
    if story.pause:
        yield "paused", f"by {story.pause.actor} since {moment(story.pause.at)}: {story.pause.reason}"
    if story.tags:
        yield "tags", ", ".join(f"{name}:{value}" for name, value in story.tags.items())
    if story.parent:
        yield "parent", story.parent
    if story.starts_at:
        yield "starts", moment(story.starts_at)
    if story.deadline_at:
        yield "deadline", moment(story.deadline_at)


def _cells(step: StepStory) -> tuple[Text | str, ...]:
    """A step or an element as a row; the column of the result shows what the step waits for."""
    indent = "" if step.step == step.step.partition("[")[0] else "  "
    result = "" if step.result is None or step.elements else msgspec.json.encode(step.result).decode()
    if step.until and step.status == "IN_PROGRESS":
        result = f"waits until {moment(step.until)}"
    elif step.last_progress and step.status in {"IN_PROGRESS", "COMPENSATING"}:
        result = f"goes on: {shown(step.last_progress.details)}"
    if step.retry_at:
        result = f"next try at {moment(step.retry_at)}: {with_frame(step.error or '', step.frame)}"
    if step.skip and step.skip.actor:
        result = f"skipped by {step.skip.actor}: {step.skip.reason}"
    undo = str(step.compensation_attempts or "")
    return (cell(indent + step.step), _status(step.status), str(step.attempts or ""), undo, cell(short(result)))


def show_entry(entry: Entry, *, as_json: bool) -> None:
    """Print one row of the log on one line."""
    if as_json:
        row = {**msgspec.structs.asdict(entry), "data": msgspec.Raw(entry.text.encode())}
        del row["text"]
        print_json(row)
        return
    where = f"{entry.category}/{entry.stream_id}@{entry.version}"
    print_json_text(entry.text, f"{entry.position:>8}  {moment(entry.recorded_at)}  {where}  {entry.type} ")


def show_explanation(explanation: Explanation, *, as_json: bool) -> None:
    """Print why a saga is not moving."""
    if as_json:
        print_json(explanation)
    else:
        say(explanation.sentence)


def show_preview(saga_id: str, undoing: Sequence[Undoing], *, as_json: bool) -> None:
    """Print the steps that a cancel would compensate, in order."""
    if as_json:
        print_json({"transaction_id": saga_id, "would_compensate": undoing})
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("step", "why", "title"):
        table.add_column(column)
    for step in undoing:
        table.add_row(cell(step.step), step.why, cell(step.title))
    screen().print(table if undoing else "Nothing would be compensated.")


def show_migration_of_saga(found: Migration, *, as_json: bool) -> None:
    """Print what a migration would do with each step, and why it is refused."""
    if as_json:
        print_json(found)
        return
    if found.from_plan == found.to_plan:
        say(f"Saga {found.transaction_id} has the present plan already.")
        return
    say(f"{found.saga}  {found.transaction_id}   from {found.from_plan} to {found.to_plan}")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("step", "status", "would be"):
        table.add_column(column)
    for step in found.steps:
        fate = f"renamed, was {step.was}" if step.fate is Fate.RENAMED else step.fate.value
        table.add_row(cell(step.step), step.status, cell(fate))
    screen().print(table)
    for reason in found.refused:
        say(f"refused: {reason}")


def show_started(saga_id: str, *, as_json: bool) -> None:
    """Print the id of a saga whose start is in the log."""
    if as_json:
        print_json({"transaction_id": saga_id})
    else:
        say(saga_id)


def show_result(result: SagaResult, *, as_json: bool) -> None:
    """Print how a saga ended."""
    if as_json:
        members = msgspec.structs.asdict(result)
        print_json({"transaction_id": members.pop("saga_id"), **members})
        return
    why = f": {result.error}" if result.error else ""
    say(f"{result.saga_id} has ended {result.status}{why}")


def show_recovery(ended: Mapping[str, int], left: Mapping[str, str], *, as_json: bool) -> None:
    """Print the result of `saga-es recover`: how many sagas ended in each status, and why the others are not moving."""
    if as_json:
        print_json({"ended": ended, "left": left})
        return
    ends = ", ".join(f"{count} {status}" for status, count in sorted(ended.items())) or "none"
    say(f"Ended: {ends}. Left: {len(left)}.")
    for saga_id, sentence in left.items():
        say(f"{saga_id}  {sentence}")


def show_retention(numbers: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what was archived or imported: each number with its name."""
    if as_json:
        print_json(numbers)
        return
    for name, value in numbers.items():
        shown_value = "\n".join(value) if isinstance(value, list) else str(value)
        for line in f"{name.replace('_', ' ')}: {shown_value or 'none'}".split("\n"):
            say(line)


def show_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print the findings of the doctor."""
    if as_json:
        verdicts = [finding.verdict for finding in findings]
        worst = next((verdict for verdict in ("fault", "warning") if verdict in verdicts), "ok")
        print_json({"verdict": worst, "findings": findings})
        return
    width = max((len(finding.subject) for finding in findings), default=0) + 2
    for finding in findings:
        verdict = cell(f"{finding.verdict:<9}", style=_VERDICTS[finding.verdict])
        screen().print(
            Text.assemble(verdict, (finding.subject.ljust(width), "bold"), plain(finding.found)), soft_wrap=True
        )


def show_grants(statements: Sequence[str], *, as_json: bool) -> None:
    """Print SQL statements, for a file or for the shell of the database."""
    if as_json:
        print_json({"statements": statements})
    else:
        click.echo("\n".join(f"{statement};" for statement in statements))


def show_tables(tables: Sequence[Made], *, as_json: bool) -> None:
    """Print the tables that saga_es made."""
    if as_json:
        print_json({"tables": [{**msgspec.structs.asdict(made), "columns": sorted(made.columns)} for made in tables]})
        return
    for made in tables:
        say(f"{made.name}: {made.kind}, made by {made.made_by}: {', '.join(sorted(made.columns))}")


def show_migration(found: str | None, head: str, *, as_json: bool) -> None:
    """Print the migration of a database."""
    if as_json:
        print_json({"current": found, "head": head})
    else:
        click.echo(found or "none")


def _status(status: str) -> Text:
    return Text(str(status), style=_COLOURS.get(str(status), ""))
