"""The verdict rules, one line each."""

import msgspec
import pytest

from lab.analysis.flattery import Sign
from lab.analysis.verdict import NOTHING_FAILED, NOTHING_LOST, ArmFacts, Loss, verdict_of


def arm(
    name: str,
    lost: list[int],
    *,
    limited: int = 0,
    unusable: int = 0,
    failed: bool = False,
    causes: tuple[str, ...] = (),
) -> ArmFacts:
    """An arm whose trials lost these numbers of 1,000 arrivals."""
    losses = tuple(
        Loss(
            scheduled=1000,
            failed=number if failed else 0,
            dropped=0 if failed else number,
            at=0.7 if number else None,
            started_before=700 if number else None,
        )
        for number in lost
    )
    return ArmFacts(name, losses, limited=limited, unusable=unusable, causes=causes)


CLEAN = [0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ([600, 610, 620, 630, 640], CLEAN, "prevents"),
        ([1, 1, 1, 1, 1], CLEAN, "prevents"),
        ([600, 610, 620, 630, 640], [0, 0, 0, 0, 1], "reduces"),
        ([600, 610, 620, 630, 640], [100, 110, 90, 95, 105], "reduces"),
        ([0, 0, 0, *[9] * 7], [0] * 10, "reduces"),
        ([0, *[9] * 9], [0] * 10, "prevents"),
        (CLEAN, [600, 610, 620, 630, 640], "worse"),
        ([10, 11, 12, 13, 14], [20, 21, 22, 23, 24], "worse"),
        (CLEAN, CLEAN, "not_exercised"),
        ([5, 6, 7, 8, 9], [5, 6, 7, 8, 9], "no_effect"),
        ([1000] * 5, [1000] * 5, "no_effect"),
        ([0, 0, 0, 0, 3], CLEAN, "no_effect"),
        ([600] * 3, [0] * 3, "inconclusive"),
        ([600], [0], "inconclusive"),
        ([0], [0], "inconclusive"),
        ([600] * 2, [0] * 10, "prevents"),
    ],
)
def test_verdict(before: list[int], after: list[int], verdict: str) -> None:
    assert verdict_of(arm("a", before), arm("b", after))[0] == verdict


def test_no_valid_trial_because_of_the_generator() -> None:
    for pair in (
        (arm("a", [], limited=3), arm("b", CLEAN)),
        (arm("a", [600] * 5), arm("b", [], limited=3, unusable=1)),
    ):
        name, sentence = verdict_of(*pair)
        assert name == "generator_limited"
        assert "nothing can be said about the tuning" in sentence


def test_no_complete_trial_is_inconclusive_and_names_the_arm() -> None:
    name, sentence = verdict_of(arm("a", [600] * 5), arm("mine", [], unusable=2))
    assert name == "inconclusive"
    assert "no complete trial of “mine”" in sentence


def test_prevents_in_words() -> None:
    before = arm("kernel-default", [600, 610, 620, 630, 640], causes=("the search grew long",))
    _, sentence = verdict_of(before, arm("article", CLEAN))
    assert sentence == (
        "The tuning “article” prevents these failures. With “kernel-default”, 620 of 1,000 "
        "connections (62.0%) could not be started in time in the median of 5 trials, beginning "
        "700 ms into the run after 700 connections: the search grew long. With “article”, all "
        "5,000 connections of 5 trials were served."
    )


def test_words_say_what_kind_of_loss_it_was() -> None:
    for failed, words in (
        (True, "connections (60.0%) failed in"),
        (False, "could not be started in time"),
    ):
        _, sentence = verdict_of(arm("a", [600] * 5, failed=failed), arm("b", CLEAN))
        assert words in sentence
    both = ArmFacts("a", (Loss(scheduled=1000, failed=1, dropped=2),) * 5)
    assert "failed or could not be started" in verdict_of(both, arm("b", CLEAN))[1]


def test_nothing_failed_is_its_own_sentence() -> None:
    assert verdict_of(arm("a", CLEAN), arm("b", CLEAN))[1] == NOTHING_FAILED


def test_partial_loss_names_the_trials_that_lost() -> None:
    _, sentence = verdict_of(arm("a", [0, 0, 0, *[9] * 7]), arm("b", [0] * 10))
    assert "the 7 trials (of 10) that lost any" in sentence


def test_too_few_trials_say_how_many_are_needed() -> None:
    _, sentence = verdict_of(arm("a", [600] * 3), arm("b", [0] * 3))
    assert "--trials 4" in sentence
    assert "did not count" not in sentence
    _, sentence = verdict_of(arm("a", [600] * 4), arm("b", [0] * 3, limited=2))
    assert "2 runs did not count" in sentence


def test_other_differences_come_first_and_a_different_load_settles_nothing() -> None:
    pair = arm("a", [600] * 5), arm("b", CLEAN)
    name, sentence = verdict_of(*pair, differences=("kernel",))
    assert name == "prevents"
    assert sentence.startswith("Not the tuning alone: kernel")
    assert "kernel differs too, and may be the reason" in sentence
    name, sentence = verdict_of(*pair, differences=("rate", "kernel"), load=("rate",))
    assert name == "inconclusive"
    assert sentence.startswith("The load was not the same (rate differs)")
    many = tuple(f"thing {number}" for number in range(9))
    _, sentence = verdict_of(*pair, differences=many)
    assert "thing 3 and 5 other things differ too" in sentence


def test_numbers_are_the_medians_of_the_table() -> None:
    _, sentence = verdict_of(arm("a", [600, 610, 620, 640]), arm("b", CLEAN[:4]))
    assert "615 of 1,000 connections (61.5%) could not be started" in sentence


@pytest.mark.parametrize("spoiled", [(6, 0), (0, 6)])
def test_a_minority_that_the_generator_let_pass_is_a_selection(spoiled: tuple[int, int]) -> None:
    """Of eleven runs of an arm six were spoiled: what the other five show is no finding."""
    pair = arm("a", [600] * 5, limited=spoiled[0]), arm("b", CLEAN, limited=spoiled[1])
    name, sentence = verdict_of(*pair)
    assert name == "generator_limited"
    assert "it spoiled 6 of the 11 runs" in sentence
    half = arm("a", [600] * 5, limited=5), arm("b", CLEAN)
    assert verdict_of(*half)[0] == "prevents"


LOST = [600, 610, 620, 630, 640]
DOUBT = Sign("time_wait_destroyed", "TIME_WAIT given up")


def flattered(facts: ArmFacts) -> ArmFacts:
    return msgspec.structs.replace(facts, signs=(DOUBT,))


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (LOST, CLEAN, "hides"),
        (LOST, [100, 110, 90, 95, 105], "hides"),
        (LOST, LOST, "no_effect"),
        (CLEAN, LOST, "worse"),
        (CLEAN, CLEAN, "not_exercised"),
        ([600] * 3, [0] * 3, "inconclusive"),
    ],
)
def test_successes_that_rest_on_something_given_up_are_hidden_failures(
    before: list[int], after: list[int], verdict: str
) -> None:
    name, sentence = verdict_of(arm("a", before), flattered(arm("b", after)))
    assert name == verdict
    if name in {"hides", "no_effect"}:
        assert "rest on TIME_WAIT given up" in sentence


def test_a_flattered_arm_before_is_told_where_it_matters() -> None:
    name, sentence = verdict_of(flattered(arm("a", CLEAN)), arm("b", LOST))
    assert name == "worse"
    assert "Mind that successes with “a” rest on TIME_WAIT given up" in sentence
    assert verdict_of(flattered(arm("a", LOST)), arm("b", CLEAN))[0] == "prevents"


def test_resets_of_one_arm_alone_prevent_nothing_whatever_the_load() -> None:
    reset = msgspec.structs.replace(arm("b", CLEAN), resets=True)
    name, sentence = verdict_of(arm("a", LOST), reset, load=("closes first",))
    assert name == "hides"
    assert "closed by RST" in sentence
    assert verdict_of(reset, arm("b", LOST), load=("closes first",))[0] == "inconclusive"
    both = msgspec.structs.replace(arm("a", LOST), resets=True)
    name, sentence = verdict_of(both, reset)
    assert name == "prevents"
    assert "says nothing of a load that closes with FIN" in sentence


def test_a_limit_that_cost_nobody_a_connection_was_put_to_the_test() -> None:
    near = msgspec.structs.replace(arm("a", CLEAN), reached=("the search became slow",))
    name, sentence = verdict_of(near, arm("b", CLEAN))
    assert name == "no_effect"
    assert "the search became slow" in sentence


def test_why_nothing_was_put_to_the_test_is_told() -> None:
    pair = arm("a", CLEAN), arm("b", CLEAN)
    name, sentence = verdict_of(*pair, unexercised=("every connection was closed by RST",))
    assert name == "not_exercised"
    assert sentence.endswith("Mind that every connection was closed by RST.")


def test_of_two_stored_results_nothing_lost_is_good_news() -> None:
    name, sentence = verdict_of(arm("a", CLEAN), arm("b", CLEAN), claim=False)
    assert (name, sentence) == ("no_effect", NOTHING_LOST)
