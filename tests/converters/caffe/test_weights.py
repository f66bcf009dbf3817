"""Learned arrays: from the file, shared, filled."""

import math

import h5py
import numpy as np
import pytest

from converters.caffe.fillers import fill
from converters.caffe.network import read_network
from converters.caffe.schema import new
from modelzoo.errors import CheckpointFormatError, ConversionError, InvalidGraphError, WeightsMismatchError
from tests.converters.caffe.files import write_caffemodel, write_prototxt

HEAD = 'layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 1 } } }\n'


@pytest.fixture
def layers(tmp_path):
    """Layers of these names (all InnerProducts), and the weight file's arrays."""

    def reader(texts, weights=None):
        text = HEAD + "".join(
            f'layer {{ name: "{name}" type: "InnerProduct" bottom: "x" top: "x" {rest} }}\n' for name, rest in texts
        )
        network = read_network(write_prototxt(tmp_path / "net.prototxt", text), weights)
        return network, network.layers

    return reader


A, B = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([7, 8], np.float32)


def test_arrays_go_by_layer_and_number(layers, tmp_path):
    network, (first, second) = layers([("a", ""), ("b", "")], write_caffemodel(tmp_path / "w", {"b": [A, B], "z": [B]}))
    assert (first.stored, second.stored) == (0, 2)
    name, array = second.blob(0, (2, 3))
    assert name == "b/0"
    np.testing.assert_array_equal(array, A)
    np.testing.assert_array_equal(second.blob(1, [2])[1], B)
    np.testing.assert_array_equal(first.blob(0, (2, 2), new("FillerParameter", value=3))[1], np.full((2, 2), 3))
    assert network.weights.filled == ["a/0"]
    network.check_weights()


@pytest.mark.parametrize("source", ["caffemodel", "mapping", "h5", "npz"])
def test_sources_of_weights(layers, tmp_path, source):
    arrays = {"a/0": A, "a/1": B}
    path = tmp_path / "weights"
    if source == "caffemodel":
        write_caffemodel(path, {"a": [A, B]}, double=True)
    elif source == "h5":
        with h5py.File(path, "w") as file:
            file.create_group("data/empty")
            for name, array in arrays.items():
                file[f"data/{name}"] = array.astype(np.float64)
    elif source == "npz":
        with path.open("wb") as file:
            np.savez(file, **arrays)
    _, (layer,) = layers([("a", "")], arrays if source == "mapping" else path)
    assert layer.stored == 2
    for index, expected in enumerate((A, B)):
        found = layer.blob(index, expected.shape)[1]
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def test_names_with_slashes(layers, tmp_path):
    path = tmp_path / "weights"
    with h5py.File(path, "w") as file:
        file["data/inception_3a/1x1/0"] = A
    _, (layer,) = layers([("inception_3a/1x1", "")], path)
    np.testing.assert_array_equal(layer.blob(0, (2, 3))[1], A)


def test_a_file_without_layers(layers, tmp_path):
    np.save(tmp_path / "x.npy", A)
    with pytest.raises(CheckpointFormatError, match="no arrays of Caffe's layers"):
        layers([("a", "")], tmp_path / "x.npy")


# ---- shapes ----


@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 3), (1, 1, 2, 3)])
def test_old_shapes_are_compared_from_the_right(layers, tmp_path, shape):
    _, (layer,) = layers([("a", "")], write_caffemodel(tmp_path / "w", {"a": [A]}, legacy=True))
    assert layer.blob(0, shape)[1].shape == shape


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("shape", [(3, 2), (6,), (2, 3, 1), (2, 4), (1, 1, 1, 2, 3)])
def test_other_shapes_are_refused(layers, tmp_path, shape, legacy):
    _, (layer,) = layers([("a", "")], write_caffemodel(tmp_path / "w", {"a": [A]}, legacy=legacy))
    with pytest.raises(WeightsMismatchError) as caught:
        layer.blob(0, shape)
    assert caught.value.mismatched[0].startswith("a/0: file (")


def test_todays_shapes_are_compared_exactly(layers, tmp_path):
    _, (layer,) = layers([("a", "")], write_caffemodel(tmp_path / "w", {"a": [A.reshape(1, 2, 3)]}))
    with pytest.raises(WeightsMismatchError):
        layer.blob(0, (2, 3))


# ---- numbers of arrays ----


def test_fewer_arrays_than_the_layer_takes(layers, tmp_path):
    _, (layer,) = layers([("a", "")], write_caffemodel(tmp_path / "w", {"a": [A]}))
    with pytest.raises(WeightsMismatchError, match="1 arrays for layer 'a'") as caught:
        layer.blob(1, (2,))
    assert caught.value.missing == ("a/1",)


def test_more_arrays_than_the_layer_takes(layers, tmp_path):
    network, (layer,) = layers([("a", "")], write_caffemodel(tmp_path / "w", {"a": [A, B]}))
    layer.blob(0, (2, 3))
    with pytest.raises(WeightsMismatchError, match="more arrays"):
        network.check_weights()


def test_weights_of_another_network(layers, tmp_path):
    network, (layer,) = layers([("a", "")], write_caffemodel(tmp_path / "w", {"z": [A, B]}))
    layer.blob(0, (2, 3))
    with pytest.raises(WeightsMismatchError, match="none of the network's layers"):
        network.check_weights()


def test_the_first_layer_of_a_name_has_the_files_arrays(layers, tmp_path):
    network, (first, second) = layers([("a", ""), ("a", "")], write_caffemodel(tmp_path / "w", {"a": [A]}))
    assert (first.stored, second.stored) == (1, 0)
    np.testing.assert_array_equal(first.blob(0, (2, 3))[1], A)
    name, array = second.blob(0, (2, 3))
    assert name != "a/0"
    assert not array.any()
    network.check_weights()


# ---- sharing ----

W = 'param { name: "w" }'


def test_layers_share_by_the_names_of_parameters(layers, tmp_path):
    other = np.ones((2, 3), np.float32)
    weights = write_caffemodel(tmp_path / "w", {"a": [A], "b": [other]})
    _, (first, second, third) = layers([("a", W), ("b", W), ("c", "")], weights)
    # Caffe copies both into the one array, in the file's order.
    assert first.blob(0, (2, 3))[0] == second.blob(0, (2, 3))[0] == "a/0"
    np.testing.assert_array_equal(first.blob(0, (2, 3))[1], other)
    np.testing.assert_array_equal(second.blob(0, (2, 3))[1], other)
    assert third.blob(0, (2, 3))[0] == "c/0"


def test_the_owner_may_be_missing_in_the_file(layers, tmp_path):
    _, (first, second) = layers([("a", W), ("b", W)], write_caffemodel(tmp_path / "w", {"b": [A]}))
    np.testing.assert_array_equal(first.blob(0, (2, 3))[1], A)
    assert second.blob(0, (2, 3))[0] == "a/0"


def test_hdf5_stores_what_is_shared_once(layers, tmp_path):
    path = tmp_path / "weights"
    with h5py.File(path, "w") as file:
        file["data/a/0"] = A
        file["data/b/1"] = B
    network, (first, second) = layers([("a", W), ("b", W)], path)
    first.blob(0, (2, 3))
    np.testing.assert_array_equal(second.blob(0, (2, 3))[1], A)
    np.testing.assert_array_equal(second.blob(1, (2,))[1], B)
    network.check_weights()


def test_filled_arrays_are_shared_too(layers):
    gaussian = new("FillerParameter", type="gaussian")
    network, (first, second) = layers([("a", W), ("b", W)])
    np.testing.assert_array_equal(first.blob(0, (4, 5), gaussian)[1], second.blob(0, (4, 5), gaussian)[1])
    assert network.weights.filled == ["a/0"]


def test_strict_and_permissive_sharing(layers, tmp_path):
    permissive = W.replace("}", "share_mode: PERMISSIVE }")
    weights = write_caffemodel(tmp_path / "w", {"a": [A]})
    _, (first, second, third) = layers([("a", W), ("b", W), ("c", permissive)], weights)
    first.blob(0, (2, 3))
    with pytest.raises(InvalidGraphError, match=r"'a' and 'b' cannot share.*shape differs") as caught:
        second.blob(0, (3, 2))
    assert "PERMISSIVE" in caught.value.hint
    name, array = third.blob(0, (3, 2))
    assert name == "a/0"
    np.testing.assert_array_equal(array, A.reshape(3, 2))
    with pytest.raises(InvalidGraphError, match="another size"):
        third.blob(0, (3, 3))


# ---- fillers ----


def filler(kind, **fields):
    return new("FillerParameter", type=kind, **fields)


def test_no_filler_is_zeros_and_the_usual_filler_a_constant():
    np.testing.assert_array_equal(fill("a", (2, 3)), np.zeros((2, 3), np.float32))
    np.testing.assert_array_equal(fill("a", (2,), new("FillerParameter", value=0.25)), [0.25, 0.25])
    assert fill("a", (), new("FillerParameter", value=2)).shape == ()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16])
def test_the_bilinear_kernel(size):
    made = fill("a", (2, 3, size, size), filler("bilinear"))
    factor = math.ceil(size / 2)
    centre = (size - 1) / (2 * factor)
    for y in range(size):
        for x in range(size):
            expected = (1 - abs(x / factor - centre)) * (1 - abs(y / factor - centre))
            np.testing.assert_allclose(made[:, :, y, x], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("made", "low", "high", "mean", "std"),
    [
        (filler("uniform", min=-2, max=4), -2, 4, 1, 6 / 12**0.5),
        (filler("gaussian", mean=1, std=0.5), -4, 6, 1, 0.5),
        (filler("xavier"), -((3 / 100) ** 0.5), (3 / 100) ** 0.5, 0, 100**-0.5),
        (filler("xavier", variance_norm=1), -((3 / 400) ** 0.5), (3 / 400) ** 0.5, 0, 400**-0.5),
        (filler("xavier", variance_norm=2), -((3 / 250) ** 0.5), (3 / 250) ** 0.5, 0, 250**-0.5),
        (filler("msra"), -1, 1, 0, (2 / 100) ** 0.5),
        (filler("msra", variance_norm=1), -1, 1, 0, (2 / 400) ** 0.5),
        (filler("msra", variance_norm=2), -1, 1, 0, (2 / 250) ** 0.5),
        (filler("positive_unitball"), 0, 1, 0.01, 0.01 / 3**0.5),
    ],
)
def test_random_fillers_follow_caffes_distributions(made, low, high, mean, std):
    array = fill("conv/0", (100, 25, 2, 2), made)  # 100 inputs an output, 400 outputs an input
    assert array.dtype == np.float32
    assert low <= array.min() and array.max() <= high
    assert array.mean() == pytest.approx(mean, abs=0.05 * std)
    assert array.std() == pytest.approx(std, rel=0.05)


def test_the_unit_ball_sums_to_one():
    np.testing.assert_allclose(fill("a", (5, 7), filler("positive_unitball")).sum(axis=1), 1, rtol=1e-5)


def test_sparse_gaussians():
    array = fill("a", (100, 100), filler("gaussian", sparse=10))
    assert 0.07 < np.count_nonzero(array) / array.size < 0.13


def test_filling_is_repeatable_and_differs_by_name():
    first, again, other = (fill(name, (50,), filler("gaussian")) for name in ("a/0", "a/0", "b/0"))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


@pytest.mark.parametrize(
    ("made", "shape", "what"),
    [
        (filler("xavir"), (2, 2), "unknown"),
        (filler("bilinear"), (2, 2), "four axes"),
        (filler("bilinear"), (1, 1, 2, 3), "square"),
        (filler("uniform", min=2, max=1), (2,), "no range"),
        (filler("gaussian", std=-1), (2,), "no width"),
        (filler("gaussian", sparse=5), (2, 2), "more than there is"),
        (filler("xavier"), (0, 2), "no elements"),
    ],
)
def test_fillers_that_cannot_be(made, shape, what):
    with pytest.raises(ConversionError, match=what):
        fill("a", shape, made)
