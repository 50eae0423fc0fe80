"""Name mapping: the most specific rule counts, for any rules in any order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.tasks.names import ANY, NameMapping, contains, intersect, target_name

NAMES = st.sampled_from(["a", "b", "c"])
PATTERNS = st.tuples(NAMES | st.just(ANY), NAMES | st.just(ANY))
FULL_NAMES = st.tuples(NAMES, NAMES)
RULES = st.dictionaries(PATTERNS, PATTERNS)


def mappings(rules) -> list[NameMapping]:
    """Return an entry of name_mapping for each rule."""
    return [
        NameMapping(
            source_db=here[0],
            target_db=there[0],
            collection_mapping={here[1]: there[1]},
        )
        for here, there in rules.items()
    ]


def specificity(pattern) -> tuple[bool, bool]:
    """Return how exactly a pattern names: first the database, then the collection."""
    return pattern[0] != ANY, pattern[1] != ANY


@given(RULES, FULL_NAMES)
def test_the_most_specific_rule_counts(rules, name):
    """Of the rules that take a name the one of its database, then of its own, counts."""
    taking = [pattern for pattern in rules if contains(pattern, name)]
    there = rules[max(taking, key=specificity)] if taking else (ANY, ANY)
    kept = tuple(
        old if new == ANY else new for new, old in zip(there, name, strict=True)
    )
    assert target_name(mappings(rules), *name) == kept


@given(RULES, FULL_NAMES, st.randoms(use_true_random=False))
def test_the_order_of_the_rules_says_nothing(rules, name, random):
    """The same rules in another order give the same name."""
    entries = mappings(rules)
    shuffled = random.sample(entries, len(entries))
    assert target_name(entries, *name) == target_name(shuffled, *name)


@given(PATTERNS, PATTERNS, FULL_NAMES)
def test_meet_takes_what_both_take(one, other, name):
    """A name is in both patterns exactly if it is in what they have in common."""
    both = intersect(one, other)
    assert (both is not None and contains(both, name)) == (
        contains(one, name) and contains(other, name)
    )


@given(PATTERNS, PATTERNS)
def test_covers_is_a_meet_that_loses_nothing(one, other):
    """A pattern covers another one exactly if they have all of that in common."""
    assert contains(one, other) == (intersect(one, other) == other)
