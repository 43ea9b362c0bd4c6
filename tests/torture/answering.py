"""Answers workflows that wait: signals with a key, and decisions, some by two people at once."""

from __future__ import annotations

import asyncio

from runsd_client import AsyncRunsClient, NotFoundError, PreconditionError

from tests.torture.flows import APPROVAL, APPROVERS, SIGNAL
from tests.torture.plan import FlowSpec, Wish
from tests.torture.witness import Decided, Signalled, Witness

PAUSE_SECONDS = 0.1
_TOO_LATE = ("RUN_ENDED", "APPROVAL_CLOSED")


async def answer_flow(client: AsyncRunsClient, run_id: str, wanted: Wish, witness: Witness) -> None:
    assert isinstance(wanted.spec, FlowSpec)
    await asyncio.sleep(wanted.answered_after_seconds)
    times = 2 if wanted.answered_twice else 1
    if wanted.spec.waits == "signal":
        await asyncio.gather(*(_signal(client, run_id, f"{run_id}-go", witness) for _ in range(times)))
    elif wanted.spec.waits == "approval":
        choices = list(zip(APPROVERS, (not wanted.spec.shaky, wanted.spec.shaky), strict=True))[:times]
        await asyncio.gather(*(_decide(client, run_id, by, approved, witness) for by, approved in choices))


async def _signal(client: AsyncRunsClient, run_id: str, key: str, witness: Witness) -> None:
    payload = f"payload of {key}"
    try:
        answer = await client.signal(run_id, SIGNAL, payload, idempotency_key=key)
        is_new = not answer.duplicate
    except PreconditionError as error:
        if error.reason not in _TOO_LATE:
            raise
        witness.signalled.append(Signalled(run_id, key, payload, None))
        return
    witness.signalled.append(Signalled(run_id, key, payload, is_new))


async def _decide(client: AsyncRunsClient, run_id: str, by: str, approved: bool, witness: Witness) -> None:
    """Asks until there is something to decide, or never will be."""
    decide = client.approve if approved else client.reject
    while True:
        try:
            await decide(run_id, APPROVAL, by=by)
        except NotFoundError:
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        except PreconditionError as error:
            if error.reason not in _TOO_LATE:
                raise
            witness.decided.append(Decided(run_id, by, approved, is_taken=False))
            return
        witness.decided.append(Decided(run_id, by, approved, is_taken=True))
        return
