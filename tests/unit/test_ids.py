import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from agentmem.ids import new_id
from agentmem.indexes.ids import LONGEST, NOT_THERE, Ids

_ids = st.text(max_size=5).filter(bool) | st.just("x" * (LONGEST + 1)) | st.sampled_from(["a\0", "\0", "é" * 40])
_steps = st.lists(_ids | st.integers(0, 40), max_size=40)


@given(_steps, st.integers(1, 9))
def test_any_sequence_leaves_what_a_dictionary_says(steps: list[str | int], segment: int) -> None:
    ids, model = Ids(segment), dict[str, int]()
    for step in steps:
        if isinstance(step, str) and step not in model:
            model[step] = ids.add(step)
        elif isinstance(step, int) and step in model.values():
            ids.remove(step)
            model = {id_: number for id_, number in model.items() if number != step}
    known = {number: id_ for id_, number in model.items()}
    assert [ids[number] for number in range(len(ids))] == [known.get(number, "") for number in range(len(ids))]
    asked = [*model, "nobody", *(step for step in steps if isinstance(step, str))]
    expected = [model.get(id_, NOT_THERE) for id_ in asked]
    assert ids.numbers(asked).tolist() == expected
    assert [ids.number(id_) for id_ in asked] == expected
    assert ids.held == len(model)


def test_a_forgotten_id_leaves_ram() -> None:
    ids, kept = Ids(2), ["first", "second", "third", "o" * 100]
    for id_ in kept:
        ids.add(id_)
    for number in range(4):
        ids.remove(number)
    held = repr([vars(ids), [sealed.tolist() for sealed in ids._sealed]])
    assert not any(id_ in held for id_ in kept)


@pytest.mark.parametrize("segment", [1000, 10])
def test_equal_hashes_are_told_apart(segment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentmem.indexes.ids.hash", lambda _: 7, raising=False)
    ids, many = Ids(segment), [new_id() for _ in range(35)]
    for id_ in many:
        ids.add(id_)
    ids.remove(3)
    np.testing.assert_array_equal(ids.numbers(many), [n if n != 3 else NOT_THERE for n in range(35)])


@given(st.lists(st.lists(st.integers(0, 99), max_size=12)), st.integers(1, 9))
def test_many_at_once_are_as_one_by_one(batches: list[list[int]], segment: int) -> None:
    one_by_one, at_once = Ids(segment), Ids(segment)
    for number, batch in enumerate(batches):
        fresh = [f"id-{number}-{place}" for place in range(len(batch))]
        at_once.extend(fresh)
        for id_ in fresh:
            one_by_one.add(id_)
        if number == 2 and len(at_once):
            at_once.remove(0)
            one_by_one.remove(0)
    everything = [f"id-{number}-{place}" for number, batch in enumerate(batches) for place in range(len(batch))]
    assert [at_once[n] for n in range(len(at_once))] == [one_by_one[n] for n in range(len(one_by_one))]
    assert at_once.numbers(everything).tolist() == one_by_one.numbers(everything).tolist()
    assert at_once.held == one_by_one.held
