"""The paper's two experiments: which images, which labels, which stages, and what is measured.

`datasets` has the sets and their parts, `two_stages` what both experiments share, `imagenet` and
`inaturalist` are the functions that runs call. How a run is kept is the matter of `records`.
"""
