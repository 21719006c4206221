"""Reference values for Student's t and Welch's test, from SciPy.

Usage: python ci/reference/t_tests.py [OUT_FOLDER]     (default: fixtures/reference; needs scipy and numpy)
"""

import json
import pathlib
import sys

import numpy
import scipy
import scipy.stats


def test_cases():
    random = numpy.random.default_rng(20260501)
    for case in range(60):
        n, m = int(random.integers(2, 12)), int(random.integers(2, 12))
        spread, other_spread = 10.0 ** random.uniform(-5, -1, size=2)
        shift = random.normal() * 3 * max(spread, other_spread)
        ours = (1.1 + shift + spread * random.standard_normal(n)).round(8).tolist()
        theirs = (1.1 + other_spread * random.standard_normal(m)).round(8).tolist()
        margin = float(random.choice([0.0, 0.00194, 0.00296]))
        welch = scipy.stats.ttest_ind([v + margin for v in ours], theirs, equal_var=False, alternative="less")
        one = scipy.stats.ttest_1samp([v + margin for v in ours], 1.1, alternative="less")
        yield {
            "candidate": ours,
            "reference": theirs,
            "margin": margin,
            "welch": {"t": -float(welch.statistic), "df": float(welch.df), "p": float(welch.pvalue)},
            "one_sample": {"mean": 1.1, "t": -float(one.statistic), "df": float(one.df), "p": float(one.pvalue)},
        }


def tails():
    for df in [1.0, 1.5, 2.0, 2.93, 3.31, 4.0, 4.08, 4.23, 7.9, 30.0, 300.0]:
        for t in [-400.0, -12.0, -1.9, -0.01, 0.0, 1e-6, 0.4, 0.991, 1.909, 6.965, 11.83, 68.85, 328.3]:
            yield {"t": t, "df": df, "p": float(scipy.stats.t.sf(t, df))}


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "fixtures/reference")
    document = {"scipy": scipy.__version__, "tests": list(test_cases()), "tails": list(tails())}
    text = json.dumps(document, indent=1)
    (folder / "t_tests.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
