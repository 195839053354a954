"""The paper's claims and their verdicts: rules written before the runs, applied to their table.

`rules` reads `book/claims.yml`, `verdicts` applies a rule, `scoreboard` puts claims beside runs,
`provenance` says whether a rule is older than what it judges. HTML is the matter of `pages`.
"""
