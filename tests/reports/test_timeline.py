"""The picture: well-formed, complete, of bounded size, and safe."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallelcfg import Parallel
from parallelcfg.report import BatchRecord, Report
from parallelcfg.report.bars import bars, ticks

SVG = "{http://www.w3.org/2000/svg}"


def shapes(report, kind):
    root = ET.fromstring(report.to_svg())
    return [
        node for node in root.iter() if node.get("class") == kind and node.find(f"{SVG}title") is not None
    ]


def test_each_batch_is_a_bar_with_a_tip(make_report):
    report = make_report(failed={(1, 2)})
    assert len(shapes(report, "bar")) == 7
    (bad,) = shapes(report, "bad")
    assert bad.find(f"{SVG}title").text == "worker-1: 3 tasks, 1 failed\n5 s to 6.25 s, 1.25 s inside tasks"


def test_each_worker_has_a_lane(make_report):
    root = ET.fromstring(make_report(workers=3).to_svg())
    lanes = [node for node in root.iter(f"{SVG}rect") if node.get("class") == "lane"]
    assert len({lane.get("y") for lane in lanes}) == 3


@pytest.mark.parametrize("workers", [1, 64, 400])
def test_bars_stay_inside_the_picture(make_report, workers):
    root = ET.fromstring(make_report(workers, failed={(0, 3)}).to_svg())
    _, _, width, height = map(float, root.get("viewBox").split())
    for node in root.iter(f"{SVG}rect"):
        assert float(node.get("x", 0)) + float(node.get("width")) <= width
        assert float(node.get("y", 0)) + float(node.get("height")) <= height


def test_a_long_call_makes_no_long_picture(make_report):
    assert len(make_report(workers=64, batches=150).to_svg()) < 400_000


def test_one_failure_in_a_crowd_can_be_seen(make_report):
    report = make_report(workers=1, batches=5000, failed={(0, 777)})
    (bad,) = shapes(report, "bad")
    assert float(bad.get("width", 0)) >= 2 or re.search(r"h([\d.]+)", bad.get("d"))[1] >= "2"


def test_both_themes_are_in_the_picture(make_report):
    svg = make_report().to_svg()
    assert "@media(prefers-color-scheme:dark)" in svg
    assert '[data-jp-theme-light="false"] .pcfg .bar' in svg


def test_names_of_workers_are_escaped(make_report):
    report = make_report(name='<script>"{}"')
    assert "<script>" not in report._repr_html_()
    ET.fromstring(report.to_svg())


def test_html_has_a_row_for_each_worker(make_report):
    html = make_report(workers=5)._repr_html_()
    assert html.count("<tr>") - html.split("</table>")[0].count("<tr>") == 1 + 5


def test_no_batch_yet_is_a_picture_too():
    report = Report("loky", 2)
    assert "no batch has come back yet" in report.to_svg()
    report.ended = 1.0
    assert "no batch has come back<" in report.to_svg()


def test_batches_of_one_size_have_no_average(make_report):
    assert "8 batches of 3 tasks<" in make_report().to_svg()
    assert "0 batches<" in Report("loky", 2).to_svg()


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1), st.integers(0, 1)), max_size=60))
def test_bars_lose_no_batch_and_no_failure(spans):
    batches = [BatchRecord("w", start, start + length, length, 2, bad) for start, length, bad in spans]
    drawn = [bar.batch for bar in bars(batches, 0.0, 20.0)]
    assert sum(batch.batches for batch in drawn) == len(batches)
    assert sum(batch.failed for batch in drawn) == sum(batch.failed for batch in batches)
    assert sum(batch.batches for batch in drawn if batch.failed) == sum(bad for _, _, bad in spans)


@given(seconds=st.floats(1e-6, 1e7), most=st.integers(4, 12))
def test_an_axis_has_few_distinct_ticks_from_zero(seconds, most):
    marks = ticks(seconds, most)
    assert 2 <= len(marks) <= most + 2
    assert marks[0] == (0.0, "0")
    assert len({label for _, label in marks}) == len(marks)
    assert marks[-1][0] <= seconds * 1.0001


def test_matplotlib_draws_the_same_bars(make_report):
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot as plt

    ax = make_report(workers=3, failed={(0, 1)}).plot()
    try:
        assert sum(len(bars.get_paths()) for bars in ax.collections) == 12
        assert [label.get_text() for label in ax.get_yticklabels()] == ["worker-0", "worker-1", "worker-2"]
    finally:
        plt.close(ax.figure)


def test_bars_of_matplotlib_that_touch_are_told_apart(make_report):
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.colors import to_rgba

    report = make_report(workers=1, batches=2, failed={(0, 1)})
    report.history.add(BatchRecord("worker-0", 109.999, 110.0, 0.001, 1, 0, 9))
    ax = report.plot()
    try:
        blue, red = ax.collections
        assert [tuple(edge) for edge in blue.get_edgecolors()] == [ax.get_facecolor()]
        assert list(blue.get_linewidths()) == [0.5, 0.0]  # a line would cover the short one
        assert [tuple(edge) for edge in red.get_edgecolors()] == [to_rgba("tab:red")]
        assert list(red.get_linewidths()) == [0.5]
    finally:
        plt.close(ax.figure)


def test_matplotlib_draws_a_call_that_has_not_begun():
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot as plt

    ax = Parallel(n_jobs=2).report.plot()
    assert ax.get_title().startswith("0 tasks on 2 workers")
    plt.close(ax.figure)
