"""JSON from outside: checked once, never changed."""

from __future__ import annotations

import json
import re
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runsd.model.documents import checked, checked_bytes
from runsd.model.events import EventType, Raw, decode, document, emitted, encode, is_utf8, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(VALUES, st.sampled_from([None, 2]))
def test_raw_documents_stay_as_they_came(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    assert checked(text, 1 << 20) == value
    payload = encode({"input": Raw(text), "error": {"detail": Raw(text), "code": "c"}})
    assert f'"input":{text}' in payload
    assert decode(payload) == {"input": value, "error": {"detail": value, "code": "c"}}
    assert document({"input": Raw(text)}, "input") == text
    assert document({}, "input") == ""


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        2**63,
        -(2**70),
        nested(300),
        {1: "a"},
        {EventType.LOG: 1},
        EventType.LOG,
        MappingProxyType({"a": 1}),
        "\ud800",
        1e16,
    ],
    ids=lambda value: type(value).__name__,
)
def test_payloads_are_written_whatever_is_in_them(value: Any) -> None:
    """Also what the fast encoder does not take, beside documents that stay as they came."""
    payload = encode({"value": value, "input": Raw("[1.0, 2]"), "error": {"detail": Raw(" 1 ")}})
    assert '"input":[1.0, 2]' in payload
    assert '"detail": 1 ' in payload
    plain = dict(value) if isinstance(value, MappingProxyType) else value
    assert decode(payload)["value"] == json.loads(json.dumps(plain))


SPACES = st.text(" \t\r\n", max_size=2)


@given(SPACES, VALUES.map(json.dumps), SPACES | st.text(max_size=2))
def test_json_is_read_as_by_the_standard_library(before: str, text: str, after: str) -> None:
    text = f"{before}{text}{after}"
    try:
        value = json.loads(text)
    except ValueError as error:
        with pytest.raises(type(error), match=re.escape(str(error))):
            read_json(text)
    else:
        assert read_json(text) == value


@given(st.text())
def test_any_text_is_a_document_or_refused_with_a_reason(text: str) -> None:
    try:
        checked(text, 100)
    except ValueError as error:
        assert any(word in str(error) for word in ("is not", "has", "nested"))


@pytest.mark.parametrize("text", ["1e400", "[-1e999]", '{"a": 1e309}'])
def test_numbers_that_no_float_holds_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="out of range"):
        checked(text, 100)


@given(st.binary())
def test_any_bytes_are_a_document_or_refused_with_a_reason(data: bytes) -> None:
    try:
        assert json.loads(checked_bytes(data, 100)) is not ...
    except ValueError as error:
        assert any(word in str(error) for word in ("is not", "has", "nested"))


@given(st.text() | st.none() | st.integers(), VALUES)
def test_emitted_events_are_valid_whatever_comes(event_type: Any, payload: Any) -> None:
    try:
        draft = emitted(event_type, payload)
    except ValueError:
        return
    assert is_utf8(draft.payload_json)
    assert isinstance(decode(draft.payload_json), dict)
    assert not draft.event_type.startswith(("run.", "step."))


@pytest.mark.parametrize(
    "name", ["run.x", "run", "step.started", "approval.decided", "artifact", "signal", "", "a..b", "a b", "é"]
)
def test_reserved_and_malformed_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"event_type"):
        emitted(name, {})


@pytest.mark.parametrize("payload", [{"s": "\ud800"}, {"\udfff": 1}, {"s": ["a", {"b": "x\udc80y"}]}])
def test_lone_surrogates_are_refused_in_events(payload: Any) -> None:
    with pytest.raises(ValueError, match="the payload of 'a' has a lone surrogate") as raised:
        emitted("a", payload)
    assert is_utf8(str(raised.value))


@pytest.mark.parametrize("payload", [{"s": {1}}, {"s": float("nan")}])
def test_a_payload_that_is_no_json_is_refused(payload: Any) -> None:
    with pytest.raises(ValueError, match="the payload of 'a' is not JSON: "):
        emitted("a", payload)


def test_logs_spell_lone_surrogates() -> None:
    assert decode(emitted("log", {"text": "a\ud800"}).payload_json)["text"] == "a\\ud800"


@pytest.mark.parametrize("text", ['"\\ud800"', '{"\\uDFFF": 1}', '["a\\udc80"]', '"\\ude00\\ud83d"', '"\ud800"'])
def test_lone_surrogates_are_refused_in_documents(text: str) -> None:
    with pytest.raises(ValueError, match="has a lone surrogate") as raised:
        checked(text, 100)
    assert is_utf8(str(raised.value))


@pytest.mark.parametrize(("text", "value"), [('"\\ud83d\\ude00"', "😀"), ('"\\\\ud800"', "\\ud800"), ('"😀"', "😀")])
def test_whole_characters_stay(text: str, value: str) -> None:
    assert checked(text, 100) == value


def test_what_an_earlier_version_recorded_can_be_shown() -> None:
    assert encode({"output": "\ud800"}) == '{"output":"\\ud800"}'


@pytest.mark.parametrize("fraction", [-0.1, 1.1, "1", True, None])
def test_progress_is_a_fraction(fraction: Any) -> None:
    with pytest.raises(ValueError, match="fraction"):
        emitted("progress", {"fraction": fraction})
