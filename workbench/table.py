"""The decision table: gains, bills and forecast → one headline with its reason.

Rows in their order: the tuned contender is worth it against every alternative; or it is as good and cheaper;
or some alternative suffices; or more training data would settle it; or more test data is needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metrics import Comparison

from .difference import compare, gain
from .evidence import Evidence
from .experiment import Experiment
from .margins import high, low, row_of
from .money import Money, surely_cheaper
from .records import Difference, Forecast, Headline

# A test split larger than this is no advice: the truth lies at the margin.
MOST_TEST_SAMPLES = 20_000
# How sure the forecast must be before collecting training data is advised.
SURE_OF_FORECAST = 0.8


@dataclass(frozen=True, slots=True)
class Finding:
    """A headline with its reason, before the figures are put beside it."""

    headline: Headline
    reason: str
    sentence: str
    choice: str | None
    against: str | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the table looks at: the tuned contender, every alternative (the best first), and what was measured."""

    tuned: Evidence
    others: Sequence[Evidence]
    comparisons: Mapping[str, Comparison]
    bills: Mapping[str, Money]
    experiment: Experiment
    forecast: Forecast | None = None

    @property
    def gains(self) -> dict[str, Difference]:
        """Tuned over each alternative, positive where tuned is better."""
        higher = self.experiment.metric(self.experiment.primary).higher_is_better
        return {name: gain(c, name, higher) for name, c in self.comparisons.items()}


def judge(facts: Facts) -> Finding:
    """The first row that applies."""
    tuned, others, experiment, gains = facts.tuned, facts.others, facts.experiment, facts.gains
    m, e = experiment.decision.worth_it, experiment.equivalent_within
    hardest = min(gains.values(), key=lambda g: (low(g), g.against)).against
    cheaper = surely_cheaper(facts.bills.values())
    match row_of(gains.values(), worth_it=m, equivalent_within=e, cheaper=cheaper):
        case "quality":
            sentence = f"{tuned.name} beats every alternative by more than {m:g}"
            return _within_budget(Finding("tune", "quality", sentence, tuned.name, hardest), facts)
        case "cheaper":
            sentence = f"{tuned.name} is within {e:g} of every alternative and cheaper over the horizon"
            return _within_budget(Finding("tune", "cheaper", sentence, tuned.name, hardest), facts)
        case "alternative-suffices":
            choice = _cheapest_sufficient(others, experiment).name
            sentence = _how_close(tuned, gains[choice], facts.comparisons[choice], experiment)
            return Finding("dont-tune", "alternative-suffices", sentence, choice, tuned.name)
        case _:
            return _more_data(facts)


def _within_budget(finding: Finding, facts: Facts) -> Finding:
    """Tuning that took more than the user has is no advice, however good it is."""
    budget, fixed = facts.experiment.decision.budget_usd, facts.bills[finding.against or ""].fixed
    if budget is None or fixed <= budget:
        return finding
    how = "better by more than the margin" if finding.reason == "quality" else "as good and cheaper to run"
    sentence = f"{facts.tuned.name} is {how}, but tuning took ${fixed:,.2f} of ${budget:,.2f}"
    return Finding("dont-tune", "over-budget", sentence, facts.others[0].name, facts.tuned.name)


def _more_data(facts: Facts) -> Finding:
    """Training data where the learning curve promises the gain, else test data."""
    forecast, best, tuned = facts.forecast, facts.others[0].name, facts.tuned
    if promising(forecast) and forecast is not None:
        sentence = (
            f"with {forecast.at:,} training samples {tuned.name} would gain more than the margin with probability "
            f"{forecast.probability:.2f}, by its learning curve"
        )
        return Finding("cant-tell", "need-more-training-data", sentence, best, tuned.name)
    sentence = _test_size_advice(list(facts.gains.values()), tuned, facts.experiment.decision.worth_it)
    return Finding("cant-tell", "need-more-eval-data", sentence, best, tuned.name)


def promising(forecast: Forecast | None) -> bool:
    """Whether the learning curve surely rises and will likely pass the margin at twice the data."""
    if forecast is None or forecast.probability is None or forecast.slope_interval is None:
        return False
    return forecast.slope_interval[0] > 0 and forecast.probability >= SURE_OF_FORECAST


def _cheapest_sufficient(others: Sequence[Evidence], experiment: Experiment) -> Evidence:
    """The cheapest alternative that is surely within e of the best one (two one-sided tests)."""
    best, e = others[0], experiment.equivalent_within
    enough = [best]
    for other in others[1:]:
        compared = compare(other, best, experiment)
        interval = compared.equivalence_interval if compared else None
        if interval is not None and -e < interval[0] and interval[1] < e:
            enough.append(other)
    for field in ("usd_per_1000", "seconds_per_request", "tokens_per_request"):
        if all(getattr(o.summary, field) is not None for o in enough):
            return min(enough, key=lambda o: (getattr(o.summary, field), o.name))
    return best


def _how_close(tuned: Evidence, difference: Difference, compared: Comparison, experiment: Experiment) -> str:
    """Better, equivalent (two one-sided tests), or close enough; said of the choice."""
    m, e = experiment.decision.worth_it, experiment.equivalent_within
    if high(difference) < 0:
        return f"{difference.against} is better than {tuned.name}"
    inside = compared.equivalence_interval
    if inside is not None and -e < inside[0] and inside[1] < e:
        return f"{difference.against} and {tuned.name} are equivalent within {e:g}"
    if high(difference) < m:
        return f"{tuned.name} gains less over {difference.against} than the {m:g} that would justify tuning"
    return (
        f"{tuned.name} gains less than {m:g} over an alternative; {difference.against} is the cheapest within {e:g} "
        "of the best one"
    )


def _test_size_advice(gains: Sequence[Difference], tuned: Evidence, m: float) -> str:
    """The n at which the margin leaves enough intervals: all of them, or one from below."""
    if all(g.interval is None for g in gains):
        return "no interval can be given for this test split; more independent samples (groups) are needed"
    sizes = {g.against: _test_size(g, len(tuned.ids), m) for g in gains}
    below = [sizes[g.against] for g in gains if g.estimate < m]
    n = min(below) if below else max(sizes.values())
    if n > MOST_TEST_SAMPLES:
        return "the difference lies at the margin itself: no test size will tell"
    return f"about {math.ceil(n / 10) * 10:,} test samples would settle it, if the difference stays as it is"


def _test_size(difference: Difference, n: int, m: float) -> float:
    """How many samples bring the interval's end off the margin, its width falling with the root of n."""
    distance = abs(difference.estimate - m)
    if difference.interval is None or distance == 0:
        return math.inf
    lower, upper = difference.interval
    half = difference.estimate - lower if difference.estimate > m else upper - difference.estimate
    return max(n + 1, n * (half / distance) ** 2)
