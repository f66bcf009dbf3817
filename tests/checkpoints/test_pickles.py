"""The interpreter of pickled dictionaries: what NumPy writes is read, nothing is ever run, and every pickle ends."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelzoo.checkpoints import open_checkpoint
from modelzoo.checkpoints.damage import Damage
from modelzoo.checkpoints.pickled_arrays import Refusal, unpickle
from modelzoo.errors import CheckpointFormatError, UnsafeFileError

LAYERS = {
    "conv1": {"weights": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "biases": np.zeros(4)},
    "fc": {"weights": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)), "big": np.arange(3, dtype=">f4")},
}


def npy(body: bytes) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|O", "fortran_order": False, "shape": ()})
    return out.getvalue() + body


def same(found, wanted):
    assert list(found) == list(wanted)
    for layer, parts in wanted.items():
        for part, array in parts.items():
            assert found[layer][part].dtype == array.dtype
            assert np.array_equal(found[layer][part], array)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_what_numpy_pickles_is_read(protocol):
    for value in (LAYERS, np.array(LAYERS, dtype=object)):
        same(unpickle(memoryview(pickle.dumps(value, protocol))), LAYERS)


def test_arrays_are_views_of_the_file_where_their_bytes_are_there():
    data = pickle.dumps(LAYERS, 4)
    array = unpickle(memoryview(data))["conv1"]["weights"]
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))


def test_a_pickle_of_python_2():
    """`numpy.array({'c': {'w': numpy.array([1, 2], 'f4')}}, 'O')` by `cPickle` of Python 2, as NumPy 1.11 had it."""
    array = (
        b"h\x01h\x02K\x00\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\x00\x00\x00@tb"
    )
    body = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87R"
        b"(K\x01)cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89]"
        b"}U\x01c}U\x01w" + array + b"ssatb."
    )
    assert pickle.loads(body, encoding="latin1").item()["c"]["w"].tolist() == [1.0, 2.0]
    found = unpickle(memoryview(body))
    assert found[b"c"][b"w"].tolist() == [1.0, 2.0]


def test_lists_of_arrays_and_bare_arrays_have_names_too(tmp_path):
    value = {b"bytes": [np.ones(2), np.zeros(3)], "bare": np.ones(4), 7: {"w": np.ones(1)}}
    (tmp_path / "x.npy").write_bytes(npy(pickle.dumps(value, 3)))
    with open_checkpoint(tmp_path / "x.npy") as checkpoint:
        assert list(checkpoint) == ["bytes/0", "bytes/1", "bare", "7/w"]


HOSTILE = {
    "os.system": b"cos\nsystem\n(X\x02\x00\x00\x00lstR.",
    "builtins.eval": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
    "posix.system": b"(X\x02\x00\x00\x00lsiposix\nsystem\n.",
    "numpy.f2py.compile": b"cnumpy.f2py\ncompile\n.",
    "numpy.core.multiarray.scalar": b"cnumpy.core.multiarray\nscalar\n.",
    "_codecs.decode": b"c_codecs\ndecode\n.",
    "NEWOBJ": b"cnumpy\nndarray\n)\x81.",
    "OBJ": b"(cnumpy\nndarray\no.",
    "PERSID": b"Pthere\n.",
    "BINPERSID": b"K\x01Q.",
    "EXT1": b"\x82\x01.",
    "state of something": b"}}b.",
    "call of ndarray": b"cnumpy\nndarray\nK\x01\x85R.",
    "call of something": b"}K\x01\x85R.",
    "call of encode": b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.",
}


@pytest.mark.parametrize("wanted", HOSTILE)
def test_whatever_else_a_pickle_asks_for_is_refused_by_name(tmp_path, wanted):
    (tmp_path / "x.npy").write_bytes(npy(HOSTILE[wanted]))
    with pytest.raises(UnsafeFileError, match=f"x.npy is a pickle that asks for .*{wanted}.*nothing was run"):
        open_checkpoint(tmp_path / "x.npy")


def repeated_text() -> bytes:
    """A megabyte of text, encoded ten thousand times."""
    text = b"a" * (1 << 20)
    once = b"c_codecs\nencode\nq\x00X" + len(text).to_bytes(4, "little") + text + b"X\x06\x00\x00\x00latin1\x86q\x01R"
    return b"(" + once + b"h\x00h\x01R" * 10_000 + b"t."


ENDLESS = {
    "a far place in the memo": b"]r\xff\xff\xff\x7f0.",
    "a long number of bytes": b"\x8e" + b"\xff" * 8 + b".",
    "a long bytearray": b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "a tuple in tuples as a key": b"})" + b"2\x86" * 60 + b"K\x01s.",
    "tuples in tuples, from the memo": b"})" + b"q\x00h\x00\x86" * 60 + b"K\x01s.",
    "a dictionary in itself": b"}q\x00K\x01h\x00s.",
    "many lists": b"]" * 3_000_000 + b".",
    "a long number": b"I" + b"9" * 100_000 + b"\n.",
    "a line without an end": b"c" + b"a" * 100_000,
    "the same text again and again": repeated_text(),
    "a large array of few bytes": (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01J\xff\xff\xff\x7f\x85"
        b"cnumpy\ndtype\nX\x02\x00\x00\x00f8K\x00K\x01\x87R(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffK\x00K\x00tb"
        b"\x89C\x01atb."
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_pickle_made_to_exhaust_memory_or_time_is_damaged(tmp_path, name):
    (tmp_path / "x.npy").write_bytes(npy(ENDLESS[name]))
    with pytest.raises(CheckpointFormatError, match=r"x\.npy"):
        open_checkpoint(tmp_path / "x.npy")


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from([bytes([code]) for code in range(256)] + list(HOSTILE.values())), max_size=40))
def test_any_instructions_end_in_an_object_or_our_error(pieces):
    try:
        unpickle(memoryview(b"".join(pieces)))
    except (Damage, Refusal):
        pass
