"""How a network is trained and evaluated: recipes, images on their way, losses, engine, stage.

It takes images with leaves and a table of labels, and knows no experiment. `recipe` is every number
of a run, `engine.fit` the loop, `one_stage.stage` a training that is kept by its fingerprint.
"""
