"""JSON fields, validity, schemas and tool calls: tables a reader can check."""

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import measure, score

FIELDS = [  # answer, reference, (found, invented, missed)
    ('{"a": 1}', '{"a": 1}', (1, 0, 0)),
    ('{"a": 1.0}', '{"a": 1}', (1, 0, 0)),
    ('{"a": true}', '{"a": 1}', (0, 1, 1)),
    ('{"a": "1"}', '{"a": 1}', (0, 1, 1)),
    ('{"a": " caf\u00e9 "}', '{"a": "cafe\u0301"}', (1, 0, 0)),
    ('{"b": 2, "a": 1}', '{"a": 1, "b": 2}', (2, 0, 0)),
    ('{"a": 1, "c": 3}', '{"a": 1, "b": 2}', (1, 1, 1)),
    ('{"to": {"city": "Oslo"}}', '{"to": {"city": "Oslo", "zip": null}}', (1, 0, 1)),
    ('{"n": [1, 2]}', '{"n": [2, 1]}', (0, 2, 2)),
    ('{"n": []}', '{"n": {}}', (0, 1, 1)),
    ("{}", '{"a": 1}', (0, 0, 1)),
    ("Oslo", '{"a": 1, "b": 2}', (0, 0, 2)),
    ("42", '{"a": 1}', (0, 0, 1)),
    ('{"a": NaN}', '{"a": 1}', (0, 0, 1)),
    ('{"a": 1, "a": 1}', '{"a": 1}', (0, 0, 1)),
    ('{"a": 1', '{"a": 1}', (0, 0, 1)),
    ('```json\n{"a": 1}\n```', '{"a": 1}', (0, 0, 1)),
]


@pytest.mark.parametrize(("answer", "reference", "counts"), FIELDS)
def test_fields(answer, reference, counts):
    assert tuple(measure("field_f1", [answer], [reference]).stats[0]) == counts


def test_fields_are_counted_over_the_corpus():
    answers = ['{"a": 1, "b": 2, "c": 3}', '{"a": 0}', None]
    references = ['{"a": 1, "b": 2, "c": 0}', '{"a": 1}', '{"a": 1}']
    found = score("field_f1", answers, references)
    assert found.value == 2 * 2 / (2 * 2 + 2 + 2) and (found.n, found.unscored) == (2, 1)


def test_the_best_of_several_references_counts_and_dicts_are_references():
    assert score("field_f1", ['{"a": 1}'], [['{"a": 2}', '{"a": 1}']]).value == 1
    assert score("field_f1", ['{"a": 1}'], [{"a": 1}]).value == 1


def test_a_code_fence_is_read_on_request_only():
    fenced = 'Here it is:\n```json\n{"a": 1}\n```\nDone.'
    for name, options in (("field_f1", {}), ("json_valid", {}), ("schema_match", {"schema": {}})):
        strict, read = (score(name, [fenced], ['{"a": 1}'], fenced=flag, **options) for flag in (False, True))
        assert (strict.value, read.value) == (0, 1)
        assert "fenced:no" in strict.signature and "fenced:yes" in read.signature


ENTITIES = [  # answer, reference, entities=, counts
    ('[{"t": "a"}, {"t": "b"}]', '[{"t": "b"}, {"t": "a"}]', True, (2, 0, 0)),
    ('[{"t": "a"}, {"t": "a"}]', '[{"t": "a"}]', True, (1, 1, 0)),
    ('[{"t": "a", "n": 1}]', '[{"t": "a", "n": 2}]', True, (0, 1, 1)),
    ('{"people": ["Ann"]}', '{"people": ["Bo", "Ann"]}', "people", (1, 0, 1)),
    ('["Ann"]', '{"people": ["Ann"]}', "people", (0, 0, 1)),
]


@pytest.mark.parametrize(("answer", "reference", "entities", "counts"), ENTITIES)
def test_entities_are_right_only_as_a_whole_and_in_any_order(answer, reference, entities, counts):
    rows = measure("field_f1", [answer], [reference], entities=entities)
    assert tuple(rows.stats[0]) == counts
    assert rows.signature != measure("field_f1", ['{"a": 1}'], ['{"a": 1}']).signature


@pytest.mark.parametrize(
    ("references", "options", "message"),
    [
        (['{"a": 1}', "Oslo"], {}, r"references\[1\] cannot be read"),
        (['{"a": 1}', "[1, NaN]"], {}, "NaN is no JSON"),
        (['{"a": 1}', '{"a": 1, "a": 2}'], {}, "'a' stands twice"),
        (['{"a": 1}', '{"a": 1e999}'], {}, "1e999 is too large"),
        (['{"a": 1}', "7"], {}, "no object or array"),
        (['{"a": 1}', []], {}, r"references\[1\] is \[\]"),
        (['{"a": 1}', None], {}, r"references\[1\] is None"),
        (["[]", '{"a": 1}'], {"entities": True}, r"references\[1\].*no array of entities"),
        (["[" * 100_000, "{}"], {}, r"references\[0\] cannot be read: nested too deeply"),
    ],
)
def test_references_that_cannot_be_read_are_named(references, options, message):
    with pytest.raises(ValueError, match=message):
        score("field_f1", ["{}", "{}"], references, **options)


def test_nothing_to_find_is_no_value():
    found = score("field_f1", ["{}"], ["{}"])
    assert found.value is None and "no reference and no answer has a field" in found.reason


VALID = [
    ('{"a": [1, null]}', 1),
    ("[]", 1),
    ("42", 1),
    ('"x"', 1),
    (" {} \n", 1),
    ("", 0),
    ("{'a': 1}", 0),
    ("NaN", 0),
    ("[Infinity]", 0),
    ('{"a": 1, "a": 2}', 0),
    ("{} {}", 0),
    ("[" * 100_000, 0),
    ("1e999", 0),
]


@pytest.mark.parametrize(("answer", "expected"), VALID)
def test_json_is_valid_by_the_standard(answer, expected):
    assert score("json_valid", [answer]).value == expected


SCHEMA = {
    "type": "object",
    "required": ["city"],
    "properties": {"city": {"type": "string"}, "n": {"$ref": "#/$defs/count"}},
    "$defs": {"count": {"type": "integer", "minimum": 0}},
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"city": "Oslo"}', 1),
        ('{"city": "Oslo", "n": 3}', 1),
        ('{"city": "Oslo", "n": -1}', 0),
        ('{"city": 7}', 0),
        ('{"city": "Oslo", "zip": 1}', 0),
        ("[]", 0),
        ("Oslo", 0),
    ],
)
def test_schema(answer, expected):
    found = score("schema_match", [answer], schema=SCHEMA)
    assert found.value == expected and "schema:" in found.signature


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (None, "takes a JSON Schema as a dict"),
        ("{}", "schema= is str"),
        ({"type": "nonsense"}, r"no JSON Schema at \$\.type"),
        ({"$ref": "https://example.org/other.json"}, "refers to 'https://example.org/other.json'"),
    ],
)
def test_schemas_that_are_none(schema, message):
    with pytest.raises(ValueError, match=message):
        score("schema_match", ["{}"], schema=schema)


def call(name, **arguments):
    return {"name": name, "arguments": arguments}


F, G = call("f", x=1), call("g", city="Oslo")
CALLS = [  # answer, reference, options, expected
    ([F], [F], {}, 1),
    (json.dumps([F]), json.dumps([F]), {}, 1),
    (json.dumps(F), [F], {}, 1),
    ([{"name": "f", "arguments": '{"x": 1.0}'}], [F], {}, 1),
    ([{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}], [F], {}, 1),
    ([F, G], [G, F], {}, 1),
    ([F, G], [G, F], {"ordered": True}, 0),
    ([F, F], [F], {}, 0),
    ([F], [F, F], {}, 0),
    ([call("f", x=2)], [F], {}, 0),
    ([call("f", x=2)], [F], {"arguments": False}, 1),
    ([call("f", x=True)], [F], {}, 0),
    ([{"name": "h"}], [call("h")], {}, 1),
    ([F], [[[G], [F]]][0], {}, 1),
    ("Nothing to do.", [], {}, 1),
    ([], [], {}, 1),
    ("Nothing to do.", [F], {}, 0),
    ('[{"name": "f", "argum', [], {}, 0),
    ('[{"name": "f", "arguments": {"x": NaN}}]', [F], {}, 0),
    ('[{"name": "f", "arguments": {"x": 1, "x": 1}}]', [F], {}, 0),
    ([{"name": "f", "arguments": "x=1"}], [F], {}, 0),
    ([{"arguments": {}}], [F], {}, 0),
]


@pytest.mark.parametrize(("answer", "reference", "options", "expected"), CALLS)
def test_tool_calls(answer, reference, options, expected):
    assert score("tool_call_match", [answer], [reference], **options).value == expected


@pytest.mark.parametrize("reference", [[{"arguments": {}}], "[{]", 7, '{"name": "f", "arguments": [1]}'])
def test_references_that_are_no_calls_are_named(reference):
    with pytest.raises(ValueError, match=r"references\[1\] is no list of tool calls"):
        score("tool_call_match", ["[]", "[]"], [[], reference])


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab é", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", min_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("pq", min_size=1), values, min_size=1), st.randoms())
def test_what_is_written_otherwise_is_the_same(value, shuffler):
    keys = shuffler.sample(list(value), len(value))
    other = json.dumps({key: value[key] for key in keys}, indent=2)
    assert score("field_f1", [other], [value]).value == 1
    assert score("json_valid", [other]).value == 1
    calls = [{"name": "f", "arguments": json.dumps(value)}]
    assert score("tool_call_match", [calls], [[{"name": "f", "arguments": json.loads(other)}]]).value == 1


def nested(levels):
    return '{"a": ' * levels + "1" + "}" * levels


def circle():
    found = {}
    found["a"] = found["b"] = found
    return found


TREE = {"type": ["object", "integer"], "properties": {"a": {"$ref": "#"}}}
KNOTTED = {  # so many calls a level that a hundred levels are too many
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {"anyOf": [{"type": "integer"}, {"allOf": [{"if": True, "then": {"properties": {"a": {"$ref": "#/$defs/node"}}}}]}]}
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("levels", "expected"), [(1, 1), (100, 1), (101, 0), (600, 0), (990, 0), (100_000, 0)]
)
def test_a_hundred_levels_are_read_wherever_it_is_called_from(levels, expected):
    text = nested(levels)
    assert score("json_valid", [text]).value == score("schema_match", [text], schema=TREE).value == expected
    calls = f'[{{"name": "f", "arguments": {nested(levels - 2)}}}]'
    assert score("tool_call_match", [calls, "[]"], [[call("f", a=1)], []]).value == (
        1 if levels == 3 else 0.5
    )
    assert score("field_f1", [text], [nested(1)]).value == (levels == 1)
    assert score("schema_match", [text], schema=KNOTTED).value in (0, expected)


@pytest.mark.parametrize("reference", [json.loads(nested(900)), circle()])
def test_references_without_an_end_are_named(reference):
    with pytest.raises(ValueError, match=r"references\[0\] cannot be read: nested too deeply"):
        score("field_f1", ["{}"], [reference])
    with pytest.raises(ValueError, match=r"references\[0\] is no list of tool calls: nested too deeply"):
        score("tool_call_match", ["[]"], [[{"name": "f", "arguments": reference}]])


def test_whole_numbers_have_no_end():
    large = '{"a": 1' + "0" * 400 + "}"
    assert score("field_f1", [large, large], [large, '{"a": 1}']).value == 0.5
    assert score("tool_call_match", [f'[{{"name": "f", "arguments": {large}}}]'], [[F]]).value == 0


@pytest.mark.parametrize("answer", ["```" + " " * 200_000, "```json" + "\t" * 200_000, "`" * 200_000])
def test_fences_that_never_come_are_looked_for_once(answer):
    assert score("json_valid", [answer], fenced=True).value == 0


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$ref": "#"}, "refers to itself without end"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "refers to itself without end"),
        ({"$ref": "file:///etc/hostname"}, "refers to 'file:///etc/hostname'"),
        ({"$schema": 5}, "no JSON Schema"),
        ({"default": date(2026, 1, 1)}, "date is not JSON serializable"),
        ({"minimum": float("nan")}, "NaN is no JSON"),
        (circle(), "no JSON Schema"),
        (json.loads('{"not": ' * 200 + "{}" + "}" * 200), "nested too deeply"),
        ({"pattern": "("}, r"no JSON Schema at \$\.pattern"),
    ],
)
def test_hostile_schemas_are_told(schema, message):
    with pytest.raises(ValueError, match=message):
        score("schema_match", ["{}"], schema=schema)


@pytest.mark.parametrize(
    ("arguments", "expected"), [(None, 1), ("", 1), (" ", 1), ({}, 1), (False, 0), (0, 0), ([], 0), ("[]", 0)]
)
def test_no_arguments_are_an_empty_object_and_nothing_else(arguments, expected):
    assert (
        score("tool_call_match", [[{"name": "f", "arguments": arguments}]], [[call("f")]]).value == expected
    )


@pytest.mark.parametrize("prediction", [float("nan"), 7, True])
def test_a_prediction_that_is_no_answer_is_no_wrong_answer(prediction):
    with pytest.raises(ValueError, match=r"predictions\[0\] is a"):
        score("tool_call_match", [prediction], [[F]])
