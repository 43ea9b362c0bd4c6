"""Compares what was acknowledged and seen with what is there. Every sentence is a violation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.torture.disk import Disk, DiskEvent, DiskRun
from tests.torture.plan import FLOW
from tests.torture.witness import Following, Seen, Watched, Witness, canonical, exact


@dataclass(frozen=True, slots=True)
class Checker:
    disk: Disk
    witness: Witness

    def violations(self) -> Iterator[str]:
        yield from self._creates()
        yield from self._retries()
        yield from self._cancels()
        yield from self._signals()
        yield from self._decisions()
        for following in self.witness.followings:
            yield from self._following(following)
        everything = [_watched(event, exact=True) for event in self.disk.everything]
        yield from _compared("watch", self.witness.watched, everything)
        lifecycles = [_watched(e, exact=False) for e in self.disk.events if e.event_type.startswith("run.")]
        yield from _compared("watch of run.*", self.witness.watched_lifecycles, lifecycles)

    def _creates(self) -> Iterator[str]:
        """Each key made one run, with its request, and every acknowledgement named that run."""
        of_key: dict[str, list[str]] = {}
        for run in self.disk.runs.values():
            if not run.parent and not run.schedule_id:
                of_key.setdefault(run.key, []).append(run.run_id)
        yield from (f"key {key!r} made {run_ids}" for key, run_ids in of_key.items() if len(run_ids) > 1)
        yield from (
            f"nobody asked for {run_ids} of key {key!r}"
            for key, run_ids in of_key.items()
            if key not in self.witness.wishes
        )
        for key, answers in self.witness.created.items():
            named = {answer.run_id for answer in answers}
            if named and named != set(of_key.get(key, [])):
                yield f"key {key!r} was acknowledged as {named}, on disk is {of_key.get(key)}"
            if sum(not answer.duplicate for answer in answers) > 1 or any(
                a.is_again and not a.duplicate for a in answers
            ):
                yield f"key {key!r} was acknowledged as new more than once"
        for run in self.disk.runs.values():
            wish = self.witness.wishes.get(run.key)
            if wish and (run.input, run.target) != (wish.spec.document(), wish.target):
                yield f"{run.run_id} is not what was asked for: {run.target} {run.input}"

    def _retries(self) -> Iterator[str]:
        for retried in self.witness.retried:
            run = self.disk.runs.get(retried.new_run_id)
            if run is None or (run.key, run.retry_of) != (retried.key, retried.run_id):
                yield f"{retried.new_run_id}, acknowledged as retry of {retried.run_id}, is {run}"

    def _cancels(self) -> Iterator[str]:
        for answer in self.witness.cancelled:
            run = self.disk.runs.get(answer.run_id)
            status = run.status if run else "gone"
            expected = {"cancelled"} if answer.cancelled else {answer.status}
            if answer.cancelled and run and run.target == FLOW:
                expected.add("completed")  # it had returned already
            if status not in expected:
                answered = f"{answer.cancelled} ({answer.status})"
                yield f"{answer.run_id}: a cancel was answered {answered}, the run is {status}"

    def _signals(self) -> Iterator[str]:
        """Each key made one signal of its run, unless it was refused; and there is no other signal."""
        found: Counter[tuple[str, str, str]] = Counter()
        for event in self.disk.events:
            if event.event_type == "signal":
                payload = json.loads(event.payload_json)
                found[event.run_id, payload["idempotency_key"], payload["payload"]] += 1
        answers: dict[tuple[str, str, str], list[bool | None]] = {}
        for sent in self.witness.signalled:
            answers.setdefault((sent.run_id, sent.key, sent.payload), []).append(sent.is_new)
        for sending, told in answers.items():
            expected = 0 if all(is_new is None for is_new in told) else 1
            if found.pop(sending, 0) != expected or told.count(True) > expected:
                yield f"signal {sending} was answered {told} (new, duplicate, refused)"
        yield from (f"nobody sent signal {sending}" for sending in found)

    def _decisions(self) -> Iterator[str]:
        """One decision of a run was acknowledged, and is the one that is there; a refused one left nothing."""
        found: dict[str, list[tuple[str, bool]]] = {}
        for event in self.disk.events:
            if event.event_type == "approval.decided":
                payload = json.loads(event.payload_json)
                found.setdefault(event.run_id, []).append((payload["by"], payload["approved"]))
        taken: dict[str, list[tuple[str, bool]]] = {}
        for decided in self.witness.decided:
            if decided.is_taken:
                taken.setdefault(decided.run_id, []).append((decided.by, decided.approved))
        for run_id in found.keys() | taken.keys():
            if found.get(run_id) != taken.get(run_id) or len(found.get(run_id, ())) != 1:
                yield f"{run_id}: decisions {taken.get(run_id)} were acknowledged, on disk is {found.get(run_id)}"

    def _following(self, following: Following) -> Iterator[str]:
        events = self.disk.by_run.get(following.run_id, [])
        expected = [_seen(event, exact=following.is_exact) for event in events]
        kind = "raw" if following.is_exact else "client"
        yield from _compared(f"{following.run_id}, followed ({kind})", following.seen, expected)


def _compared(who: str, found: Sequence[Seen | Watched], expected: Sequence[Seen | Watched]) -> Iterator[str]:
    if list(found) == list(expected):
        return
    pairs = zip(found, expected, strict=False)
    at = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(found), len(expected)))
    here = slice(at, at + 2)
    yield f"{who}: saw {len(found)} events of {len(expected)}, differing at {at}: {found[here]} for {expected[here]}"


def _seen(event: DiskEvent, *, exact: bool) -> Seen:
    return Seen(event.event_id, event.event_type, _digest(event.payload_json, exact))


def _watched(event: DiskEvent, *, exact: bool) -> Watched:
    return Watched(event.position, event.run_id, _seen(event, exact=exact))


def _digest(payload_json: str, is_exact: bool) -> bytes:
    return exact(payload_json) if is_exact else canonical(json.loads(payload_json))


def runs_by_kind_and_status(disk: Disk) -> Counter[str]:
    return Counter(f"{_origin(run)}{run.target.partition(':')[2]} {run.status}" for run in disk.runs.values())


def _origin(run: DiskRun) -> str:
    if run.parent:
        return "part, "
    return "scheduled, " if run.schedule_id else ""
