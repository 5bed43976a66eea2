"""Writes expected.json: intervals and p-values by scipy, for the tests of the library's statistics.

    pip install scipy && python tests/statistics/expected.py
"""

import itertools
import json
import math
import pathlib

from scipy import stats

wilson = []
for hits, n in [(74, 200), (0, 10), (10, 10), (81, 263)]:
    i = stats.binomtest(hits, n).proportion_ci(0.95, "wilson")
    wilson.append({"hits": hits, "n": n, "low": i.low, "high": i.high})


def ends(x, n):
    i = stats.binomtest(x, n).proportion_ci(0.95, "wilson")
    return i.low, i.high


def newcombe(both, only_second, only_first, neither):
    """Method 10 of Newcombe 1998 (paired), from its definition, second less first."""
    n = both + only_second + only_first + neither
    p, q = (both + only_second) / n, (both + only_first) / n
    (l1, u1), (l2, u2) = ends(both + only_second, n), ends(both + only_first, n)
    margins = (both + only_second) * (only_first + neither) * (both + only_first) * (only_second + neither)
    cross = both * neither - only_second * only_first
    top = max(cross - n / 2, 0) if cross > 0 else cross
    phi = top / math.sqrt(margins) if margins else 0.0
    low = math.sqrt((p - l1) ** 2 - 2 * phi * (p - l1) * (u2 - q) + (u2 - q) ** 2)
    high = math.sqrt((u1 - p) ** 2 - 2 * phi * (u1 - p) * (q - l2) + (q - l2) ** 2)
    return p - q - low, p - q + high


tables = []
for table in [(36, 12, 2, 0), (60, 25, 9, 106), (0, 0, 0, 5), (10, 0, 0, 10), (3, 7, 0, 0), (20, 15, 15, 50)]:
    both, only_second, only_first, neither = table
    n = only_second + only_first
    p = stats.binomtest(only_first, n).pvalue if n else 1.0  # McNemar, exact
    low, high = newcombe(*table)
    tables.append(dict(zip(["both", "only_second", "only_first", "neither"], table), p=p, low=low, high=high))

# Several seeds: all sign assignments, counted one by one.
seeds = []
for differences in [[3, -1, 2, 0, 1, -2, 3, 3], [1, 1, 1, -1, 0], [2, 2, 2, 2, 2], [0, 0, 0]]:
    seen = abs(sum(differences))
    sums = [abs(sum(s * d for s, d in zip(signs, differences)))
            for signs in itertools.product([1, -1], repeat=len(differences))]
    seeds.append({"differences": differences, "p": sum(s >= seen for s in sums) / len(sums)})

out = pathlib.Path(__file__).with_name("expected.json")
out.write_text(json.dumps({"wilson": wilson, "tables": tables, "seeds": seeds}, indent=1) + "\n")
