"""What importing costs: the light names import neither TensorFlow nor NumPy."""

from __future__ import annotations

import subprocess
import sys

import modelzoo
from modelzoo import errors


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in done.stdout.split()}


def test_import_modelzoo_imports_nothing_heavy():
    heavy = {"tensorflow", "keras", "numpy", "requests", "tqdm", "jsonschema", "click", "PIL", "h5py", "onnx"}
    assert not modules_after("import modelzoo") & heavy


def test_listing_and_reading_cards_import_nothing_heavy():
    heavy = {"tensorflow", "keras", "numpy", "requests", "tqdm", "jsonschema", "PIL", "h5py", "onnx"}
    assert not modules_after("import modelzoo\nmodelzoo.list_models()\nmodelzoo.info('inception_v1')") & heavy


def test_every_public_name_is_there_and_documented():
    for name in modelzoo.__all__:
        value = getattr(modelzoo, name)
        assert name == "__version__" or value.__doc__


def test_every_error_has_a_class_of_its_own_and_survives_pickling():
    import pickle

    for name in errors.__all__:
        cls = getattr(errors, name)
        if not isinstance(cls, type):
            continue
        assert issubclass(cls, errors.ModelzooError)
        if cls is errors.MissingExtraError:
            error = cls("parquet", "pyarrow", "Writing parquet")
        elif issubclass(cls, errors.NotFoundError):
            error = cls("nmae", ["name"])
        elif cls is errors.UnsupportedOperatorError:
            error = cls("node", "Op")
        else:
            error = cls("what happened")
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is cls
        assert str(again) == str(error)
        assert again.as_dict()["exit_code"] == cls.exit_code
