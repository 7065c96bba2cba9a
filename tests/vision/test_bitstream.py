"""The image size that the streams of HEIC and AVIF files state."""

import pytest
from PIL import Image

from app.vision.bitstream import av1_stream, hevc_configuration
from testbed.heif_writer import CONFIGURATIONS, coded_item


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_size_in_the_stream_is_read(kind):
    for size in ((16, 16), (96, 64), (130, 70), (640, 480)):
        properties = dict(coded_item(Image.new("RGB", size), kind).properties)
        body = properties[CONFIGURATIONS[kind]]
        if kind == "HEIF":
            stream, _ = hevc_configuration(body)
            assert 0 <= stream.width - size[0] < 64
            assert 0 <= stream.height - size[1] < 64
    if kind == "AVIF":
        stream = av1_stream(coded_item(Image.new("RGB", (130, 70)), kind).data)
        assert (stream.width, stream.height, stream.coded_pictures) == (130, 70, 1)


def test_frame_with_another_size_than_its_sequence_is_rejected():
    """The sequence header has 8x8 pixels and allows frames of up to 65536x65536."""
    fields = [(0, 3), (0, 1), (0, 1), (0, 1), (0, 1), (0, 5), (0, 12), (0, 5)]
    fields += [(15, 4), (15, 4), (7, 16), (7, 16), (0, 1), (0, 3), (0, 4), (0, 1), (1, 1), (1, 1)]
    sequence = bits(fields)
    frame = [(0, 1), (0, 2), (1, 1), (0, 1), (0, 1)]
    for override, refused in ((0, False), (1, True)):
        body = bits([*frame, (override, 1), (65_535, 16), (65_535, 16)])
        stream = obu(1, sequence) + obu(6, body)
        if refused:
            with pytest.raises(ValueError, match="differs from the size of its sequence"):
                av1_stream(stream)
        else:
            assert av1_stream(stream).width == 8


def bits(fields):
    text = "".join(f"{value:0{count}b}" for value, count in fields)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def obu(kind, body):
    return bytes([kind << 3 | 2, len(body)]) + body
