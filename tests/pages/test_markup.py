"""Tables as the pages show them."""

import re

from granularity.pages import markup


def test_all_names_stand_in_one_row():
    rows = [{"arm": "leaf", "k": 4, "error": "0.1"}, {"arm": "leaf", "k": 8, "error": "0.2"}]
    html = markup.headed(rows, "arm").to_html()
    head = re.search("<thead>(.*?)</thead>", html, re.DOTALL)[1]
    assert head.count("<tr") == 1
    assert re.findall("<th>(.*?)</th>", head) == ["arm", "k", "error"]
    assert html.count("<th>leaf</th>") == 2
