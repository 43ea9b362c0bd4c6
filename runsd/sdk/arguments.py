"""The arguments of a workflow's operations, checked at the call.

Each function gives an argument as it is taken, or raises ValueError naming it and saying what would be right.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

Strategy = Literal["all", "race", "all_settled"]
STRATEGIES = ("all", "race", "all_settled")
MAX_NAME = 200
MAX_ITEMS = 10_000


def items_given(name: str, items: Iterable[Any]) -> list[Any]:
    if not isinstance(items, Iterable) or isinstance(items, (str, bytes)):
        raise ValueError(f"the items of {name!r} must be a list or another iterable, not {items!r}")
    if isinstance(items, (set, frozenset)):
        raise ValueError(f"the items of {name!r} are a set, which has another order each time; give them `sorted`")
    given = list(items)
    if len(given) > MAX_ITEMS:
        raise ValueError(f"{name!r} has {len(given):,} items; a map takes {MAX_ITEMS:,}, so map over parts of them")
    return given


def named(name: str) -> str:
    is_text = isinstance(name, str) and 0 < len(name) <= MAX_NAME and _is_utf8(name)
    if not is_text or not set("/#[]~\n").isdisjoint(name):
        shown = repr(name) if len(repr(name)) <= MAX_NAME else f"{repr(name)[:40]} …"
        raise ValueError(f"{shown} is no name for a step; write 1 to {MAX_NAME} characters without / # [ ] ~")
    return name


def function_given(function: Callable[..., Any]) -> Callable[..., Any]:
    if not callable(function):
        hint = "write it as `function, argument`, without calling it" if isinstance(function, Awaitable) else "give one"
        raise ValueError(f"{function!r} is no function; {hint}")
    return function


def configs_given(name: str, configs: Iterable[Any] | None, count: int) -> Sequence[Any]:
    if configs is None:
        return [None] * count
    if isinstance(configs, (str, Mapping)) or not isinstance(configs, Iterable):
        raise ValueError(f"the configs of {name!r} must be a list with one for each item, not {configs!r}")
    given = list(configs)
    if len(given) != count:
        raise ValueError(f"{name!r} has {count:,} items and {len(given):,} configs; give one for each item")
    return given


def check_race(name: str, strategy: Strategy, count: int) -> None:
    if strategy == "race" and count == 0:
        raise ValueError(f"{name!r} is a race with nobody in it; give it one branch or more")


def strategy_given(strategy: Strategy) -> Strategy:
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, not {strategy!r}")
    return strategy


def limit_given(concurrency: int | None) -> int | None:
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise ValueError(f"concurrency must be a whole number, 1 or more, not {concurrency!r}")
    return concurrency


def approvers_given(approvers: object) -> tuple[str, ...]:
    """An empty one is more likely a mistake than meant: it would let anybody decide."""
    if approvers is None:
        return ()
    names = None if isinstance(approvers, (str, bytes)) or not isinstance(approvers, Iterable) else tuple(approvers)
    if not names or not all(isinstance(name, str) and name and _is_utf8(name) for name in names):
        raise ValueError(
            f"approvers must be one or more names, such as ['eve'], not {approvers!r}; leave it out for anybody"
        )
    return names


def text_given(argument: str, value: object) -> str:
    if not isinstance(value, str) or not _is_utf8(value):
        raise ValueError(f"{argument} must be text, not {value!r}")
    return value


def _is_utf8(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
