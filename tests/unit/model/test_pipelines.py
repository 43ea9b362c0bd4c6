"""Pipelines and the delays of retries, as values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runsd.model.pipelines import Pause, Pipeline, PipelineStep, RetryPolicy
from runsd.model.retry import delay_seconds
from runsd.model.settings import Backoff, RetrySettings


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    ids = [f"s{number}" for number in range(draw(st.integers(1, 12)))]
    needs = {id: tuple(draw(st.sets(st.sampled_from(ids[:i]) if i else st.nothing()))) for i, id in enumerate(ids)}
    return {id: needs[id] for id in draw(st.permutations(ids))}


@given(graphs())
def test_every_step_comes_once_and_after_what_it_needs(needs: dict[str, tuple[str, ...]]) -> None:
    pipeline = Pipeline(tuple(PipelineStep(id, Pause(0.0), needs=needed) for id, needed in needs.items()))
    before: set[str] = set()
    for level in pipeline.levels():
        assert all(before.issuperset(step.needs) for step in level)
        before.update(step.id for step in level)
    assert before == needs.keys()
    assert sum(map(len, pipeline.levels())) == len(needs)


def test_levels_of_the_same_pipeline_are_the_same_in_every_process() -> None:
    """The record of a run names steps by their order."""
    steps = [
        PipelineStep("b", Pause(0.0)),
        PipelineStep("a", Pause(0.0)),
        PipelineStep("c", Pause(0.0), needs=("a", "b")),
    ]
    assert [[step.id for step in level] for level in Pipeline(tuple(steps)).levels()] == [["b", "a"], ["c"]]


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        (Backoff.FIXED, [2, 2, 2, 2, 2]),
        (Backoff.LINEAR, [2, 4, 6, 8, 9]),
        (Backoff.EXPONENTIAL, [2, 4, 8, 9, 9]),
    ],
)
def test_how_delays_grow(backoff: Backoff, delays: list[float]) -> None:
    settings = RetrySettings(backoff=backoff, initial_delay_seconds=2, max_delay_seconds=9, jitter=0)
    assert [delay_seconds(attempt, settings, 0.5) for attempt in range(1, 6)] == delays
    assert delay_seconds(10**6, settings, 0.5) == delays[-1]


def test_a_policy_s_delays_are_settings() -> None:
    policy = RetryPolicy(5, Backoff.LINEAR, 3.0, 60.0)
    expected = RetrySettings(backoff=Backoff.LINEAR, initial_delay_seconds=3.0, max_delay_seconds=60.0)
    assert policy.settings == expected
