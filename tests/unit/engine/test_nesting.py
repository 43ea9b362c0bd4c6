"""How deep a run is below the first of its kin."""

from __future__ import annotations

from pathlib import Path

import pytest

from runsd.engine.creating import MAX_DEPTH, check_depth, create_run
from runsd.engine.ending import fail_run
from runsd.engine.ids import new_run_id
from runsd.model.creation import CreateRequest, NewRun
from runsd.model.errors import InvalidRequest
from runsd.model.run import RunError
from runsd.model.targets import Target
from runsd.store.transaction import Transaction
from tests.unit.engine.workflow_room import room

TARGET = Target.parse("task:t")


def below(parent_id: str) -> NewRun:
    request = CreateRequest(target=str(TARGET), parent_run_id=parent_id)
    return NewRun(new_run_id(), "p", TARGET, request, 0, 0)


def chain(transaction: Transaction, length: int, *, ended: bool = False) -> str:
    """The last of as many runs, each below the one before; with `ended`, each of them begins when that one ends."""
    run_id = ""
    for _ in range(length):
        new = below(run_id)
        create_run(transaction, new)
        if ended and run_id:
            fail_run(transaction, transaction.get(run_id), RunError("over", "exception"))
        run_id = new.run_id
    return run_id


async def test_no_run_is_deeper_than_is_allowed(tmp_path: Path) -> None:
    async with room(tmp_path) as place:

        def change(transaction: Transaction) -> None:
            deepest_but_one = chain(transaction, MAX_DEPTH)
            check_depth(transaction, below(deepest_but_one))
            deepest = below(deepest_but_one)
            create_run(transaction, deepest)
            with pytest.raises(InvalidRequest, match="nested deeper than 32 runs") as refused:
                check_depth(transaction, below(deepest.run_id))
            assert [violation.field for violation in refused.value.violations] == ["parent_run_id"]

        await place.store.journal.change(change)


async def test_runs_that_follow_each_other_are_not_nested(tmp_path: Path) -> None:
    async with room(tmp_path) as place:

        def change(transaction: Transaction) -> None:
            check_depth(transaction, below(chain(transaction, 3 * MAX_DEPTH, ended=True)))

        await place.store.journal.change(change)
