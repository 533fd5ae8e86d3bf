"""The HTML page: what it shows, and that no name can change its markup."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st

from snapshots import check, found, hostile, numeric, report, snapshot, usual, window
from torchserve_drift.port.page.page import page, state
from torchserve_drift.port.page.style import STYLE_SOURCE

VOID = {"meta", "br"}


class _Reader(HTMLParser):
    """Collects tags with attributes, and texts; fails if a tag is not closed in order."""

    def __init__(self, markup):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(markup)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open and data.strip():
            self.texts.append(data.strip())


def read(*snapshots):
    return _Reader(page(snapshots).decode())


def test_the_page_shows_verdicts_in_falling_importance():
    windows = {name: {"1h": found(name == "b", ks=check(0.001, 0.5, name == "b"))} for name in "abc"}
    made = snapshot([numeric("a")], report({"1h": window("drifted", 0.5)}, windows))
    for feature, importance in zip(made["report"]["features"], (0.2, 0.5, 0.3)):
        feature["importance"] = importance
    texts = read(made).texts
    assert [text for text in texts if text in ("a", "b", "c")] == ["b", "c", "a"]
    row = texts[texts.index("b") :]
    assert row[:6] == ["b", "0.5", "drifted", "ks p\xa00.001, effect\xa00.5", "failed: ks", "2026-11-23 02:51:03 UTC"]


def test_windows_with_their_rows_and_states():
    texts = read(usual()).texts
    for label, row in (("10m", ["too few rows", "12", "12", "0"]), ("1h", ["drifted", "5,120", "4,096", "0.75"])):
        at = texts.index(label)
        assert texts[at + 1 : at + 5] == row


def test_the_title_tells_how_many_models_drifted():
    titles = [
        re.search("<title>(.*)</title>", page(made).decode())[1] for made in ([], [snapshot()], [usual(), snapshot()])
    ]
    assert titles == ["no models", "no drift", "1 of 2 models drifted"]


def test_states():
    def of(*states):
        return state(snapshot(report=report({str(i): window(s) for i, s in enumerate(states)}, {})))

    assert state(snapshot()) == "starting"
    assert (of("ok", "drifted"), of("too_few_rows", "ok"), of("too_few_rows")) == ("drifted", "ok", "too_few_rows")


def test_the_style_is_the_one_that_the_policy_allows():
    style = re.search(b"<style>(.*?)</style>", page([]), re.DOTALL)[1]
    assert "sha256-" + base64.b64encode(hashlib.sha256(style).digest()).decode() == STYLE_SOURCE


def test_names_are_escaped():
    name = "<script>alert(1)</script>\"' onload=x &amp; {style}"
    made = usual(model_name=name, rows_rejected={name: 3}, errors={name: 1})
    made["report"]["features"][0]["name"] = name
    made["report"]["windows"][name] = window()
    reader = read(made)
    assert [tag for tag, _ in reader.tags if tag == "script"] == []
    assert reader.texts.count(name) == 3  # the model's heading, the window's row, the feature's row
    assert any(f"3 rows rejected: {name}" in text for text in reader.texts)


@settings(deadline=None, max_examples=60)
@given(st.lists(hostile(), max_size=2))
def test_no_names_change_the_markup(snapshots):
    for tag, attributes in read(*snapshots).tags:
        assert tag in {"html", "head", "meta", "title", "style", "body", "h1", "h2", "small", "section", "p", "div",
                       "table", "tr", "th", "td", "span", "br"}  # fmt: skip
        assert set(attributes) <= {"lang", "charset", "name", "content", "http-equiv", "class"}
