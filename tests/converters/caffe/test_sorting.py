"""Orders that a C++ program linked with libstdc++ (GCC 12) printed after `std::sort` by falling score."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from converters.caffe.builder import Builder
from converters.caffe.sorting import sorted_places
from converters.function import load

OF_40 = (
    """32 23 26 20 17 29 14 11 8 35 5 38 2 34 33 39 31 36 30 37 28 27 25 0 24 22 21 19 18 16 15 13 12 10 9 7 6 4 3 1"""
)
OF_200 = """
85 122 120 115 113 108 106 101 99 94 92 87 127 80 78 73 71 66 64 59 57 52 50 164 199 197 192 190 185 183 178 176 171 169
1 162 157 155 150 148 143 141 136 134 129 45 15 17 10 22 24 8 29 31 36 38 3 43 121 86 184 93 2 30 100 177 107 51 114 44
58 23 9 170 198 128 135 142 163 16 149 156 191 65 72 37 79 40 19 20 167 132 131 48 138 125 124 68 69 118 12 13 195 159
160 153 152 41 194 166 146 145 61 47 62 139 83 6 75 117 188 180 97 96 181 54 76 90 89 187 33 34 5 82 173 103 104 174 55
27 110 111 26 182 172 4 186 161 0 175 179 196 189 11 165 168 7 193 70 98 95 32 91 88 84 81 35 77 74 102 67 39 63 60 42
56 53 49 46 21 14 154 151 147 144 18 140 137 133 130 158 126 123 119 116 25 112 109 28 105"""


def scores_of(count: int, kinds: int) -> np.ndarray:
    number = np.arange(count)
    return ((number * 7919 + number * number * 31) % kinds).astype(np.float32)


def sort(scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    g = Builder("sort")
    made = sorted_places(g, g.input("scores", scores.shape), g.input("counts", counts.shape, np.int64))
    g.graph.outputs.append(made.node)
    (places,) = load(ir.to_proto(ir.Model(g.graph, ir_version=10)))({"scores": scores, "counts": counts}).values()
    return np.asarray(places)


@pytest.mark.parametrize(("count", "kinds", "printed"), [(40, 3, OF_40), (200, 7, OF_200)])
def test_equal_scores_lie_as_std_sort_leaves_them(count, kinds, printed):
    places = sort(scores_of(count, kinds)[None], np.array([[count]]))
    assert places[0].tolist() == [int(place) for place in printed.split()]


def test_each_row_is_sorted_as_if_it_were_alone():
    rows = np.full((3, 200), -np.inf, np.float32)
    rows[0], rows[1, :40], rows[2, :5] = scores_of(200, 7), scores_of(40, 3), [1, 2, 1, 2, 3]
    places = sort(rows, np.array([[200], [40], [5]]))
    assert places[0].tolist() == [int(place) for place in OF_200.split()]
    assert places[1, :40].tolist() == [int(place) for place in OF_40.split()]
    assert places[2, :5].tolist() == [4, 1, 3, 0, 2]  # up to 16 it is stable
    assert (np.sort(places, axis=1) == np.arange(200)).all()


def test_scores_that_differ_are_simply_sorted():
    scores = np.random.default_rng(0).permutation(1000).astype(np.float32)[None]
    np.testing.assert_array_equal(sort(scores, np.array([[1000]])), np.argsort(-scores))
