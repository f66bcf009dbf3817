"""scikit-learn models as skl2onnx writes them: trees, linear models, kernels, text and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

__all__ = ["MODELS", "Export"]


@dataclass(frozen=True)
class Export:
    """A fitted model in ONNX, and how inputs for it are drawn: a generator and a batch size give the feeds."""

    proto: onnx.ModelProto
    draw: Callable[[np.random.Generator, int], dict[str, np.ndarray]]


def _numbers(seed: int = 0, rows: int = 120, columns: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((rows, columns)).astype(np.float32)
    score = x[:, 0] * 2 - x[:, 1] ** 2 + 0.5 * x[:, 2] * x[:, 3]
    return x, score.astype(np.float32), np.digitize(score, [-1.5, 0.5])


def _of_floats(model: Any, columns: int = 6, **options: Any) -> Export:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    proto = to_onnx(
        model, initial_types=[("x", FloatTensorType([None, columns]))], options={id(model): options} if options else {}
    )
    return Export(proto, lambda generator, batch: {"x": generator.standard_normal((batch, columns)).astype(np.float32)})


def boosted_classifier() -> Export:
    from sklearn.ensemble import GradientBoostingClassifier

    x, _, labels = _numbers()
    return _of_floats(GradientBoostingClassifier(n_estimators=12, random_state=0).fit(x, labels), zipmap=False)


def boosted_binary() -> Export:
    from sklearn.ensemble import GradientBoostingClassifier

    x, score, _ = _numbers()
    labels = np.where(score > 0, "yes", "no")
    return _of_floats(GradientBoostingClassifier(n_estimators=12, random_state=0).fit(x, labels))


def boosted_regressor() -> Export:
    from sklearn.ensemble import GradientBoostingRegressor

    x, score, _ = _numbers()
    return _of_floats(GradientBoostingRegressor(n_estimators=20, random_state=0).fit(x, score))


def forest_classifier() -> Export:
    from sklearn.ensemble import RandomForestClassifier

    x, _, labels = _numbers()
    named = np.array(["low", "middle", "high"])[labels]
    return _of_floats(RandomForestClassifier(n_estimators=15, random_state=0).fit(x, named))


def forest_regressor() -> Export:
    from sklearn.ensemble import RandomForestRegressor

    x, score, _ = _numbers()
    return _of_floats(RandomForestRegressor(n_estimators=15, random_state=0).fit(x, score))


def forest_of_many_outputs() -> Export:
    from sklearn.ensemble import ExtraTreesRegressor

    x, score, _ = _numbers()
    return _of_floats(ExtraTreesRegressor(n_estimators=7, random_state=0).fit(x, np.stack([score, -2 * score], 1)))


def isolation_forest() -> Export:
    from skl2onnx import to_onnx
    from sklearn.ensemble import IsolationForest

    x, _, _ = _numbers()
    model = IsolationForest(n_estimators=10, random_state=0).fit(x)
    proto = to_onnx(model, x[:1], target_opset={"": 17, "ai.onnx.ml": 3})
    return Export(proto, lambda generator, batch: {"X": generator.standard_normal((batch, 6)).astype(np.float32)})


def _anywhere(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a locale that every system has: skl2onnx writes en_US, which onnxruntime may not find."""
    for node in proto.graph.node:
        if node.op_type == "StringNormalizer":
            node.attribute.append(onnx.helper.make_attribute("locale", "C.UTF-8"))
    return proto


def text_pipeline() -> Export:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import StringTensorType
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = ["red", "green", "blue", "house", "boat", "sky", "Über", "and", "the", "of", "x1"]
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(words, generator.integers(3, 9))) for _ in range(80)]
    labels = np.array(["colour" if text.split()[0] in ("red", "green", "blue") else "thing" for text in texts])
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression()).fit(texts, labels)
    proto = _anywhere(to_onnx(model, initial_types=[("text", StringTensorType([None, 1]))]))

    def draw(generator: np.random.Generator, batch: int) -> dict[str, np.ndarray]:
        ends = ["!", " Boat.", ", the SKY", "", " unknown words", " x1, x1;red"]
        drawn = [" ".join(generator.choice(words, 6)) + ends[row % len(ends)] for row in range(batch)]
        return {"text": np.array(drawn, object).reshape(batch, 1)}

    return Export(proto, draw)


def counted_words() -> Export:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import StringTensorType
    from sklearn.feature_extraction.text import CountVectorizer

    texts = ["one two three", "two Two four", "a-b c.d one", "five six seven eight"]
    model = CountVectorizer(lowercase=True, binary=False, token_pattern="[a-zA-Z]+").fit(texts)
    proto = _anywhere(to_onnx(model, initial_types=[("text", StringTensorType([None]))]))

    def draw(generator: np.random.Generator, batch: int) -> dict[str, np.ndarray]:
        words = np.array(["one", "two", "three", "ONE", "a", "b", "zero", "five"], object)
        return {"text": np.array([" ".join(generator.choice(words, 5)) for _ in range(batch)], object)}

    return Export(proto, draw)


def table() -> Export:
    """Numbers scaled and imputed, categories one-hot, strings and integers: a ColumnTransformer before a classifier."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    towns = np.array(["Aachen", "Bern", "Köln", "Łódź"], object)
    generator = np.random.default_rng(0)

    def draw(generator: np.random.Generator, batch: int) -> dict[str, np.ndarray]:
        floats = (generator.standard_normal((batch, 3)) * 10 + 3).astype(np.float32)
        floats[generator.random((batch, 3)) < 0.2] = np.nan
        return {
            "size": floats,
            "town": generator.choice([*towns, "elsewhere"], (batch, 1)).astype(object),
            "rooms": generator.integers(1, 6, (batch, 1)),
        }

    given = draw(generator, 150)
    x = np.concatenate([given[name].astype(object) for name in ("size", "town", "rooms")], 1)
    labels = (given["rooms"][:, 0] > 2).astype(int) + (given["town"][:, 0] == "Bern")
    steps = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), [0, 1, 2]),
            ("towns", OneHotEncoder(handle_unknown="ignore", categories=[list(towns)]), [3]),
            ("rooms", OneHotEncoder(categories=[[1, 2, 3, 4, 5]]), [4]),
        ]
    )
    model = make_pipeline(steps, LogisticRegression(max_iter=300)).fit(x, labels)
    proto = to_onnx(
        model,
        initial_types=[
            ("size", FloatTensorType([None, 3])),
            ("town", StringTensorType([None, 1])),
            ("rooms", Int64TensorType([None, 1])),
        ],
    )
    return Export(proto, draw)


def support_vectors() -> Export:
    from sklearn.svm import SVC

    x, _, labels = _numbers()
    return _of_floats(SVC(probability=True, random_state=0).fit(x, labels), zipmap=False)


def support_vectors_raw() -> Export:
    from sklearn.svm import SVC

    x, _, labels = _numbers()
    return _of_floats(SVC(kernel="poly", degree=2, decision_function_shape="ovr").fit(x, labels), raw_scores=True)


def support_regressor() -> Export:
    from sklearn.svm import SVR

    x, score, _ = _numbers()
    return _of_floats(SVR().fit(x, score))


def neighbours() -> Export:
    from sklearn.neighbors import KNeighborsClassifier

    x, _, labels = _numbers()
    return _of_floats(KNeighborsClassifier(n_neighbors=5).fit(x, labels), zipmap=False)


def weighted_neighbours() -> Export:
    from sklearn.neighbors import KNeighborsRegressor

    x, score, _ = _numbers()
    return _of_floats(KNeighborsRegressor(n_neighbors=4, weights="distance").fit(x, score))


def logistic() -> Export:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer, PolynomialFeatures, StandardScaler

    x, _, labels = _numbers()
    steps = make_pipeline(StandardScaler(), PolynomialFeatures(2), Normalizer(), LogisticRegression(max_iter=300))
    return _of_floats(steps.fit(x, labels))


def perceptron() -> Export:
    from sklearn.neural_network import MLPClassifier

    x, _, labels = _numbers()
    return _of_floats(MLPClassifier((16, 8), max_iter=60, random_state=0).fit(x, labels), zipmap=False)


def naive_bayes() -> Export:
    from sklearn.naive_bayes import GaussianNB

    x, _, labels = _numbers()
    return _of_floats(GaussianNB().fit(x, labels), zipmap=False)


def gaussian_process() -> Export:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel

    x, score, _ = _numbers(rows=40)
    return _of_floats(GaussianProcessRegressor(RBF() + WhiteKernel(0.1), optimizer=None).fit(x, score))


def clusters() -> Export:
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline

    x, _, _ = _numbers()
    return _of_floats(make_pipeline(PCA(3), KMeans(4, random_state=0, n_init=2)).fit(x))


def voters() -> Export:
    from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, VotingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    x, _, labels = _numbers()
    members = [
        ("tree", DecisionTreeClassifier(max_depth=3, random_state=0)),
        ("boosted", AdaBoostClassifier(n_estimators=4, random_state=0)),
        ("bagged", BaggingClassifier(n_estimators=3, random_state=0)),
        ("linear", LogisticRegression()),
    ]
    return _of_floats(VotingClassifier(members, voting="soft", flatten_transform=False).fit(x, labels), zipmap=False)


MODELS: Mapping[str, Callable[[], Export]] = {
    builder.__name__: builder
    for builder in (
        boosted_classifier, boosted_binary, boosted_regressor, forest_classifier,
        forest_regressor, forest_of_many_outputs, isolation_forest, text_pipeline, counted_words, table,
        support_vectors, support_vectors_raw, support_regressor, neighbours, weighted_neighbours, logistic,
        perceptron, naive_bayes, gaussian_process, clusters, voters,
    )
}  # fmt: skip
