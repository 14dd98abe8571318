"""What the paper claims, against numbers made up here."""

from dataclasses import replace
from math import hypot
from typing import Any

import pytest
from made_results import NAMES, make_metrics, value

from c2p import params
from c2p.evaluation.cells import Cell
from c2p.evaluation.claims import check_claims
from c2p.evaluation.comparison import Comparison, noise
from c2p.evaluation.contents import CONTROLS, build_cells

PLAIN = Cell("1", ("set",), "column", mean=50.0)


@pytest.mark.parametrize(
    ("low", "high", "known", "verdict"),
    [
        (50, 56, 5, "shown"),
        (50, 55, 5, "within noise"),
        (50, 50, None, "within noise"),
        (50, 50.1, None, "shown"),
        (50, 46, 5, "within noise"),
        (50, 44, 5, "the other way round"),
    ],
)
def test_a_difference_must_exceed_its_noise(low: float, high: float, known: float | None, verdict: str) -> None:
    assert Comparison("", low, high, known).verdict == verdict


def test_noise_is_the_larger_of_intervals_and_seeds() -> None:
    wide = replace(PLAIN, interval=(47.0, 53.0), std=0.5, n_seeds=3)
    narrow = replace(PLAIN, interval=(46.0, 54.0))
    assert noise(PLAIN, PLAIN) is None
    assert noise(PLAIN, replace(PLAIN, std=2.0)) == 2.0
    assert noise(PLAIN, wide) == 0.5, "one interval alone says nothing of the difference"
    assert noise(wide, narrow) == pytest.approx(hypot(3.0, 4.0))
    assert noise(replace(wide, std=30.0), replace(narrow, std=40.0)) == pytest.approx(50.0)


def check(settings: params.Params, metrics: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    cells = build_cells(settings, metrics, NAMES)
    tables = ("1", "2", "3", "4", "5", CONTROLS)
    return {table: [(c.text, c.verdict) for c in check_claims(table, cells)] for table in tables}


def test_claims_of_all_tables(small_settings: params.Params) -> None:
    found = check(small_settings, make_metrics())
    verdicts = {table: [verdict for _, verdict in claims] for table, claims in found.items()}
    assert verdicts == {
        "1": ["shown", "shown", "shown"],
        "2": ["shown", "shown"],
        "3": ["shown"],
        "4": ["shown", "shown"],
        "5": ["shown", "shown"],
        CONTROLS: ["within noise", "the other way round"],
    }


def test_verdicts_are_counted(small_settings: params.Params) -> None:
    metrics = make_metrics()
    metrics["zeroshot"]["modelnet10"]["clip2point"] = value(28, 26, 30)
    metrics["zeroshot"]["validation"]["clip2point"] = value(1, 1, 1)
    cells = build_cells(small_settings, metrics, NAMES)
    claim = check_claims("1", cells)[1]
    assert claim.verdict == "shown in 1, within noise in 1 of 2", "the validation split chose the checkpoint"
    assert "ModelNet10: 30.00 and 28.00, noise 2.8" in claim.evidence
    metrics["zeroshot"]["modelnet10"]["clip2point"] = value(20, 19, 21)
    assert check(small_settings, metrics)["1"][1][1] == "shown in 1, the other way round in 1 of 2"


def test_cross_modality_alone_is_held_against_both_losses(small_settings: params.Params) -> None:
    metrics = make_metrics()
    metrics["ablations"]["modelnet40"]["clip2point_cross_only"] = value(30)
    asked = replace(small_settings, ablations=params.Ablations((1, 2), cross_only=True))
    assert check(asked, metrics)[CONTROLS][-1] == ("both losses beat the cross-modality loss alone", "shown")


def test_no_numbers_no_claims(small_settings: params.Params) -> None:
    assert check_claims("1", []) == []
    assert not any(check(small_settings, {}).values())


def test_dilations_are_compared_where_they_were_rendered(small_settings: params.Params) -> None:
    metrics = make_metrics()
    metrics["ablations"]["modelnet40"] |= {"zeroshot_minimum_r4": value(99), "zeroshot_weighted_r4": value(98)}
    wider = replace(small_settings, ablations=params.Ablations((1, 2, 4), cross_only=False))
    claims = check(wider, metrics)["5"]
    assert claims[-1] == ("with the minimum, a dilation of 4 is too large: 2 beats it", "the other way round")
