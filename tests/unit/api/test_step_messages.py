"""Steps of the record: which are shown, where they stand, and how much of them a record holds."""

from __future__ import annotations

from runsd_client.proto import run_pb2

from runsd.api.conversion import STEP_KINDS, STEP_OUTPUT_CHARACTERS, STEP_STATES, STEPS_BYTES, step_messages
from runsd.model.run import RunError
from runsd.model.steps import Step, StepKind, StepState

STEP = Step("a", "a", StepKind.FUNCTION, StepState.COMPLETED, attempt=1, output_json="[1]", started_at=1_500_000)


def test_every_kind_and_state_of_the_contract() -> None:
    assert STEP_KINDS.keys() == set(StepKind) - {StepKind.VALUE}
    assert set(STEP_KINDS.values()) == set(run_pb2.StepKind.values()) - {0}
    assert STEP_STATES.keys() == set(StepState)
    assert set(STEP_STATES.values()) == set(run_pb2.StepState.values()) - {0}


def test_a_step_as_a_message() -> None:
    failed = STEP._replace(
        state=StepState.PENDING, error=RunError("no", "own"), until=2_000_000, child_run_id="r2", detail="task:a"
    )
    [message], truncated = step_messages([failed])
    assert not truncated
    assert (message.step_id, message.kind, message.state) == (
        "a", run_pb2.STEP_KIND_FUNCTION, run_pb2.STEP_STATE_PENDING,
    )  # fmt: skip
    assert (message.error.code, message.child_run_id, message.detail, message.output_json) == (
        "own", "r2", "task:a", "[1]",
    )  # fmt: skip
    assert (message.started_at.ToMilliseconds(), message.until.ToMilliseconds()) == (1500, 2000)
    assert not message.HasField("completed_at")


def test_steps_stand_below_the_nearest_that_is_shown() -> None:
    ids = ("m", "m[0]", "m[0]/b", "hidden", "hidden/x", "hidden/x/y")
    steps = [STEP._replace(step_id=i, kind=StepKind.VALUE if i == "hidden" else STEP.kind) for i in ids]
    shown = {message.step_id: message.parent_step_id for message in step_messages(steps)[0]}
    assert shown == {"m": "", "m[0]": "m", "m[0]/b": "m[0]", "hidden/x": "", "hidden/x/y": "hidden/x"}


def test_a_long_output_is_left_out() -> None:
    fits, too_long = (STEP._replace(output_json="ä" * (STEP_OUTPUT_CHARACTERS + n)) for n in (0, 1))
    assert [len(m.output_json) for m in step_messages([fits, too_long])[0]] == [STEP_OUTPUT_CHARACTERS, 0]


def test_a_record_stays_small_enough_for_a_grpc_client() -> None:
    steps = [STEP._replace(step_id=f"s{n}", output_json="x" * STEP_OUTPUT_CHARACTERS) for n in range(1000)]
    messages, truncated = step_messages(steps)
    assert truncated
    assert 100 < len(messages) < 1000
    assert sum(m.ByteSize() for m in messages) <= STEPS_BYTES
    messages, truncated = step_messages([step._replace(output_json="{}") for step in steps])
    assert (len(messages), truncated) == (1000, False)
