"""Pasting of faces into scenes."""

import numpy as np
import pytest

from training.data import pasting
from training.data.pasting import MAX_OVERLAP, free_corner, paste, tinted


def shared_area(first, second):
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    return np.prod(np.clip(high - low, 0, None))


def test_free_corner_keeps_the_face_inside_and_apart_from_others():
    taken = np.array([(20, 20, 80, 90), (120, 60, 150, 90), (60, 140, 160, 190)], np.float32)
    found = 0
    for seed in range(400):
        generator = np.random.default_rng(seed)
        x1, y1, width, height = generator.uniform((0, 0, 10, 10), (40, 40, 70, 80))
        box = np.array((x1, y1, x1 + width, y1 + height), np.float32)
        corner = free_corner(box, taken, 200, generator)
        if corner is None:
            continue
        found += 1
        assert all(isinstance(value, int) for value in corner)
        placed = box + np.tile(corner, 2)
        size = np.array((width, height))
        assert (placed[:2] >= -0.1 * size - 1).all()
        assert (placed[2:] <= 200 + 0.1 * size + 1).all()
        for other in taken:
            smaller = min(width * height, np.prod(other[2:] - other[:2]))
            rounding = width + height  # half a pixel along each side
            assert shared_area(placed, other) <= MAX_OVERLAP * smaller + rounding
    assert 300 < found < 400


def test_free_corner_covers_all_of_an_empty_scene():
    box, nothing = np.array((5, 10, 45, 60), np.float32), np.zeros((0, 4), np.float32)
    corners = [free_corner(box, nothing, 200, np.random.default_rng(n)) for n in range(200)]
    places = np.array(corners) + box[:2]
    assert (places.min(axis=0) < (10, 10)).all()
    assert (places.max(axis=0) > (150, 140)).all()


def test_free_corner_returns_none_without_room():
    box = np.array((0, 0, 40, 40), np.float32)
    nothing, everything = np.zeros((0, 4), np.float32), np.array([(0, 0, 200, 200)], np.float32)
    large = np.array((0, 0, 150, 201), np.float32)
    for seed in range(50):
        assert free_corner(box, everything, 200, np.random.default_rng(seed)) is None
        assert free_corner(large, nothing, 200, np.random.default_rng(seed)) is None


@pytest.mark.parametrize(
    "corner", [(-31, 5), (5, -21), (100, 5), (5, 80), (500, 500), (-500, -500), (-30, 10), (99, 9)]
)
def test_piece_outside_of_the_scene_changes_nothing(corner):
    piece = np.full((20, 30, 3), 250, np.uint8)
    for seed in range(20):
        ground = np.full((80, 100, 3), 90, np.uint8)
        paste(ground, piece, *corner, np.random.default_rng(seed))
        assert (ground == 90).all()


@pytest.mark.parametrize("corner", [(-12, 5), (60, -9), (83, 66), (-7, 70), (-20, -20)])
def test_piece_across_the_edge_is_clipped(corner, plain_pasting):
    generator = np.random.default_rng(0)
    piece = generator.integers(0, 256, (60, 50, 3), np.uint8)
    wide = generator.integers(0, 256, (240, 260, 3), np.uint8)
    scene_of = (slice(80, 160), slice(80, 180))
    for seed in range(30):
        expected, ground = wide.copy(), wide[scene_of].copy()
        paste(expected, piece, corner[0] + 80, corner[1] + 80, np.random.default_rng(seed))
        paste(ground, piece, *corner, np.random.default_rng(seed))
        assert np.array_equal(ground, expected[scene_of])
        assert not np.array_equal(ground, wide[scene_of])


def test_middle_of_a_pasted_piece_equals_the_piece(plain_pasting):
    generator = np.random.default_rng(0)
    piece = generator.integers(120, 256, (60, 50, 3), np.uint8)
    before = piece.copy()
    hard, round_, soft = 0, 0, 0
    for seed in range(80):
        ground = np.full((100, 120, 3), 10, np.uint8)
        paste(ground, piece, 40, 20, np.random.default_rng(seed))
        pasted = ground[20:80, 40:90].copy()
        difference = np.abs(pasted[18:42, 15:35].astype(int) - piece[18:42, 15:35])
        assert difference.max() <= 1  # blending rounds down
        ground[20:80, 40:90] = 10
        assert (ground == 10).all()
        hard += np.array_equal(pasted, piece)
        round_ += pasted[:3, :3].max() < 30
        soft += (np.abs(pasted[:, 25].astype(int) - piece[:, 25]) > 5).any()
    assert np.array_equal(piece, before)
    assert 5 < hard < 35
    assert round_ > 20
    assert soft > 20


def test_cloned_piece_lies_at_its_corner(plain_pasting, monkeypatch):
    # The rim of the piece equals the ground, so cloning does not change its light.
    monkeypatch.setattr(pasting, "CLONE_SHARE", 1)
    for height, width in ((60, 50), (61, 50), (60, 51), (33, 47)):
        piece = np.full((height, width, 3), 128, np.uint8)
        piece[12:25, 9:31] = (30, 90, 240)
        ground = np.full((120, 140, 3), 128, np.uint8)
        paste(ground, piece, 40, 20, np.random.default_rng(0))
        expected = np.full_like(ground, 128)
        expected[20 : 20 + height, 40 : 40 + width] = piece
        assert np.abs(ground.astype(int) - expected).max() <= 2


def test_cloned_piece_takes_the_light_of_the_scene(monkeypatch):
    monkeypatch.setattr(pasting, "MATCH_SHARE", 0)
    monkeypatch.setattr(pasting, "CLONE_SHARE", 1)
    ground = np.full((120, 140, 3), 200, np.uint8)
    paste(ground, np.full((50, 40, 3), 60, np.uint8), 40, 20, np.random.default_rng(0))
    assert np.abs(ground.astype(int) - 200).max() <= 2


def test_light_of_a_piece_moves_towards_the_light_of_the_scene(monkeypatch):
    monkeypatch.setattr(pasting, "MATCH_SHARE", 1)
    monkeypatch.setattr(pasting, "CLONE_SHARE", 0)
    piece = np.full((60, 50, 3), 60, np.uint8)
    for place, low, high in ((200, 80, 125), (80, 66, 82), (10, 8, 42)):
        middles = []
        for seed in range(40):
            ground = np.full((100, 120, 3), place, np.uint8)
            paste(ground, piece, 40, 20, np.random.default_rng(seed))
            middles.append(ground[45:55, 60:70].mean())
        assert low <= min(middles) < max(middles) <= high
    assert (piece == 60).all()


def test_tinted_skin_has_red_above_green_above_blue_and_keeps_its_brightness():
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(2, axis=0)
    tones = set()
    for seed in range(60):
        colored = tinted(ramp, np.random.default_rng(seed))
        assert colored.shape == (2, 256, 3)
        assert colored.dtype == np.uint8
        blue, green, red = colored[0, 30:200].astype(int).T
        assert (red > green).all()
        assert (green > blue).all()
        bright = colored[0] @ np.array((0.114, 0.587, 0.299))
        assert (np.diff(bright) >= 0).all()
        assert np.diff(colored[0].astype(int), axis=0).min() >= 0
        assert np.abs(bright - np.arange(256))[:160].max() < 2
        tones.add(tuple(colored[0, 128].tolist()))
    assert len(tones) > 20
