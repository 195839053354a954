"""Tables as the pages show them."""

import re

import pandas as pd

from granularity.pages import markup


def test_all_names_stand_in_one_row():
    rows = [{"arm": "leaf", "k": 4, "error": "0.1"}, {"arm": "leaf", "k": 8, "error": "0.2"}]
    html = markup.headed(rows, "arm").to_html()
    head = re.search("<thead>(.*?)</thead>", html, re.DOTALL)[1]
    assert head.count("<tr") == 1
    assert re.findall("<th>(.*?)</th>", head) == ["arm", "k", "error"]
    assert html.count("<th>leaf</th>") == 2


def test_a_table_s_texts_are_escaped_and_an_empty_one_says_so():
    html = markup.html(pd.DataFrame({"a <b>": ["<i> & x"]}))
    assert "<i>" not in html and "&lt;i&gt; &amp; x" in html and "a &lt;b&gt;" in html
    assert html.count("<table") == html.count("</table>") == 1
    assert markup.html(pd.DataFrame()).strip() == "<p>No runs yet.</p>"
