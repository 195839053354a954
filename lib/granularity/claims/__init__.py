"""The paper's claims and their verdicts: rules written before the runs, applied to their table.

`rules` reads `book/claims.yml`; `judging` applies a rule to the runs that it reads and that `fixed`
lets through, by its kind (`effects`, `bounds`, `placebos`), and comes to an `outcome`. `scoreboard`
puts all claims beside runs, `chapter_rows` some beside a chapter's, `effect_rows` gives all effects
in rows, and `provenance` says whether a rule is older than what it judges. HTML is the matter
of `pages`.
"""
