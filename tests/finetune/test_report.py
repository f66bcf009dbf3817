"""The page: counts, curves, mistakes; nothing of a name becomes markup."""

from __future__ import annotations

import numpy as np

from modelzoo.finetune.pictures import ClassFolder
from modelzoo.finetune.report import confusion, mistakes, write_report
from tests.finetune.networks import picture_folder


def test_confusion_counts_true_classes_in_rows():
    assert confusion([0, 0, 1, 2], [0, 1, 1, 0], 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_mistakes_come_with_the_most_confident_first():
    logits = np.array([[0.0, 1.0], [0.0, 5.0], [0.0, 2.0], [9.0, 0.0]])
    found = mistakes(logits, [0, 0, 1, 0])
    assert [item[0] for item in found] == [1, 0]
    assert found[0][2] > found[1][2] > 0.5 and np.isclose(found[0][2] + found[0][3], 1)


def test_the_page_holds_all_and_fetches_nothing(tmp_path):
    pictures = ClassFolder.read(picture_folder(tmp_path / "p", count=2))
    logits = np.eye(3)[[0, 0, 0, 1, 2, 2]]
    page = write_report(
        tmp_path / "report.html",
        title="me/<b>",
        facts={"base": "<script>"},
        history={"loss": [1.0, float("nan")], "val_loss": [1.0, 0.5], "accuracy": [0.1, 0.9]},
        names=["a&b", "<i>", "c"],
        pictures=pictures.paths,
        truth=pictures.labels,
        logits=logits,
    ).read_text()
    assert "5 of 6 validation pictures" in page and page.count("<svg") == 2
    assert page.count("data:image/jpeg") == 1 and "http" not in page.replace("http-equiv", "")
    assert "<script>" not in page and "a&amp;b" in page and "<i>" not in page
