"""The workflow of the starter project, whose daemon is killed on the way.

What is said of steps is taken from the events that were seen before the kill, and after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runsd_client.commands.event_display import EventDisplay
from runsd_client.commands.event_text import approval_asked
from runsd_client.commands.options import login_name
from runsd_client.commands.step_tree import show_step_tree
from runsd_client.demo.daemon import OwnDaemon
from runsd_client.demo.presenter import ELSEWHERE, Presenter, Unexpected, expect
from runsd_client.values import Event, Run, RunStatus

_TARGET = "workflow:content-pipeline"
_TOPIC = "attempt"


@dataclass(slots=True)
class WorkflowShow:
    """`before` and `after` the kill: the events of the run that were seen then."""

    presenter: Presenter
    daemon: OwnDaemon
    project: Path
    child_run_id: str = ""
    before: list[Event] = field(default_factory=list)
    after: list[Event] = field(default_factory=list)

    def everything(self) -> None:
        self.presenter.remark("A workflow, step by step. Its daemon is killed on the way, and the run goes on:")
        run_id = self.presenter.start(_TARGET, "--follow", input={"topic": _TOPIC})
        with EventDisplay(self.presenter.screen, followed=run_id) as display:
            self._follow(run_id, display)
        run = self.presenter.ended(run_id, RunStatus.COMPLETED)
        self.presenter.remark("Its steps, as `runs get` draws them:")
        self.presenter.screen.text("\n")
        show_step_tree(self.presenter.screen, run.steps, truncated=run.steps_truncated)
        self.presenter.screen.text("\n")
        self._conclude(run)

    def _follow(self, run_id: str, display: EventDisplay) -> None:
        for event in self.presenter.client.follow(run_id):
            display.show(event)
            (self.after if self.child_run_id else self.before).append(event)
            if not self.child_run_id and (child := _child_started(event)):
                display.close()
                self.child_run_id = child
                self._kill_while_at_work(event.event_id)
            elif name := approval_asked(event):
                display.close()
                self._approve(run_id, name)

    def _kill_while_at_work(self, last_event_id: int) -> None:
        """While the child run executes, at the first that it says of its progress."""
        progress = self._first_progress()
        self.presenter.remark(f"Its child run is at {progress}. Now the daemon is killed, and started again:")
        self.presenter.command("kill", "-KILL", str(self.daemon.pid), literal=ELSEWHERE)
        self.daemon.kill()
        self.presenter.command("runsd", "serve", "--project", str(self.project), literal="# again")
        self.daemon.start_again()
        self.presenter.client.targets()
        self.presenter.remark(
            f"It answers after {self.daemon.seconds_since_start:.1f} s. The client is the same, and goes on behind"
            f" event {last_event_id}:"
        )
        self.presenter.screen.text("\n")

    def _first_progress(self) -> str:
        for event in self.presenter.client.follow(self.child_run_id):
            if event.event_type == "progress":
                return str(event.payload["message"])
        raise Unexpected(f"the child run {self.child_run_id} ended without a word of its progress")

    def _approve(self, run_id: str, name: str) -> None:
        self.presenter.command("runs", "approve", run_id, name, literal=ELSEWHERE)
        self.presenter.client.approve(run_id, name, by=login_name())

    def _conclude(self, run: Run) -> None:
        """What is to be seen from it, each sentence after it was found to be true."""
        self._expect_all_events(run)
        self._say_what_was_kept()
        self._say_of_the_child()
        self._say_what_was_published(run)

    def _expect_all_events(self, run: Run) -> None:
        expect(bool(self.child_run_id), "the workflow had no child run, so the daemon was not killed")
        seen = [*self.before, *self.after]
        expect(
            seen == list(self.presenter.client.replay(run.run_id)), "the events followed are not those of the record"
        )
        self._say(f"Events {seen[0].event_id} to {seen[-1].event_id} were each seen once, with the kill in between.")

    def _say_what_was_kept(self) -> None:
        kept = completed_steps(self.before)
        again = touched_again(kept, self.after)
        expect(len(kept) > 1, "no step was completed when the daemon was killed")
        expect(not again, f"executed again after the kill, though completed before it: {', '.join(again)}")
        self._say(f"Completed before it, and not executed again: {', '.join(kept)}.")

    def _say_of_the_child(self) -> None:
        child = self.presenter.client.get(self.child_run_id)
        told = [(event.event_type, repr(event.payload)) for event in self.presenter.client.replay(child.run_id)]
        expect(
            child.attempt == 1, f"the child run {child.run_id} was begun again, and ended in attempt {child.attempt}"
        )
        expect(len(set(told)) == len(told), f"events of the child run {child.run_id} came twice")
        self._say(
            f"The child run, a process of its own, was not disturbed: one attempt, its {len(told)} events once each."
        )

    def _say_what_was_published(self, run: Run) -> None:
        file = self.project / run.output["file"]
        sections = file.read_text(encoding="utf-8").count("\n**") if file.exists() else 0
        expect(sections == run.output["sections"] > 0, f"{file} has {sections} sections")
        self._say(f"{run.output['file']} has the {sections} sections that were drafted.")

    def _say(self, text: str) -> None:
        self.presenter.screen.line((text, "italic"))


def completed_steps(events: Sequence[Event]) -> list[str]:
    return [step_id for event, step_id in _of_steps(events) if event.event_type == "step.completed"]


def touched_again(step_ids: Sequence[str], events: Sequence[Event]) -> list[str]:
    """Those of the steps of which these events tell."""
    told = {step_id for _, step_id in _of_steps(events)}
    return [step_id for step_id in step_ids if step_id in told]


def _of_steps(events: Sequence[Event]) -> Iterator[tuple[Event, str]]:
    for event in events:
        if event.event_type.startswith("step."):
            yield event, str(event.payload["step_id"])


def _child_started(event: Event) -> str:
    """The id of the run that is executed as a step; empty where the event does not begin one."""
    return str(event.payload.get("child_run_id", "")) if event.event_type == "step.started" else ""
