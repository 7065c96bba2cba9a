"""Faces with given emotions, for the tests of the group mood."""

from app.vision.types import Box, Face, Scores

LABELS = ("neutral", "happiness", "anger")
EIGHT = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")


def face(*probabilities, x=0.0, size=10.0, score=None, labels=LABELS):
    scores = Scores(dict(zip(labels, probabilities, strict=True)))
    return Face(Box(x, 0, x + size, size), scores, score)


# Sides 10, 40 and 20. Means .3, .4, .3.
CALM = face(0.6, 0.3, 0.1, size=10)
GLAD = face(0.2, 0.7, 0.1, x=100, size=40)
CROSS = face(0.1, 0.2, 0.7, x=50, size=20)
THREE = (CALM, GLAD, CROSS)
LEVEL = [face(*row) for row in ((0.6, 0.3, 0.1), (0.2, 0.7, 0.1), (0.1, 0.2, 0.7))]


def two(*rows, **options):
    return [face(*row, labels=("neutral", "happiness"), **options) for row in rows]


OTHER_LABELS = ("joy", "calm", "boredom", "pride", "doubt", "envy", "awe")
