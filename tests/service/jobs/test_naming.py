"""Names, labels and request ids of any kind are taken or refused with the remedy."""

import pytest

from gradloom.service.jobs.naming import label_faults, name_faults, request_id_faults


@pytest.mark.parametrize("name", ["a", "digits", "digits-7", "7", "a" * 63])
def test_b069_a_plain_name_is_taken(name: str) -> None:
    assert not list(name_faults(name))


@pytest.mark.parametrize("name", ["", "Digits", "-a", "a-", "a_b", "a b", "a" * 64, "а", "a\n"])
def test_b069_any_other_name_is_refused(name: str) -> None:
    (fault,) = name_faults(name)

    assert fault.field == "name"
    assert "at most 63 characters" in fault.description


def test_b069_a_name_is_shown_back_escaped() -> None:
    (fault,) = name_faults("Digits\u202ex")

    assert '"Digits\\u202ex"' in fault.description


def test_b070_plain_labels_are_taken() -> None:
    assert label_faults([("team", "vision"), ("note", "größer · 大")]) == ()


@pytest.mark.parametrize(
    ("labels", "field", "sentence"),
    [
        ([(f"key{n}", "") for n in range(65)], "labels", "65 labels given, 64 allowed"),
        ([("", "x")], 'labels[""]', "The key has 0 characters"),
        ([("k" * 64, "x")], "labels[", "The key has 64 characters"),
        ([("team", "ä" * 128)], 'labels["team"]', "The value has 256 bytes, 255 allowed"),
        ([("team", "a\u202eb")], 'labels["team"]', "\\u202e"),
        ([("te\x00am", "a")], 'labels["te\\x00am"]', "do not print"),
    ],
)
def test_b070_other_labels_are_refused(
    labels: list[tuple[str, str]], field: str, sentence: str
) -> None:
    (fault,) = label_faults(labels)

    assert fault.field.startswith(field)
    assert sentence in fault.description


@pytest.mark.parametrize("request_id", ["", "6e8bc430-9c3a-11d9-9669-0800200c9a66", "a"])
def test_b071_a_uuid_or_none_is_taken(request_id: str) -> None:
    assert request_id_faults(request_id) == ()


@pytest.mark.parametrize(
    ("request_id", "sentence"),
    [
        ("x" * 50, "request_id has 50 characters: use a UUID."),
        ("größe", "is not plain ASCII"),
        ("a\x00", '"a\\x00"'),
    ],
)
def test_b071_any_other_request_id_is_refused(request_id: str, sentence: str) -> None:
    (fault,) = request_id_faults(request_id)

    assert fault.field == "request_id"
    assert sentence in fault.description
