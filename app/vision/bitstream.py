"""Reads the sizes in the headers of HEVC and AV1 streams without decoding them.

A HEIC or AVIF file states the size of an image twice: in the boxes of the file and in the
compressed stream. Decoders allocate memory for the size in the stream, so both must be checked.
"""

from collections.abc import Iterator
from dataclasses import dataclass

MAX_UNITS = 10_000  # maximum number of NAL units or OBUs in an item


@dataclass(frozen=True, slots=True)
class StreamSize:
    """The size of a stream: the largest width and height in the headers (0 without headers), and
    the number of coded pictures and slices.

    Each coded picture and each slice can take as long to decode as the whole image.
    """

    width: int = 0
    height: int = 0
    coded_pictures: int = 0
    slices: int = 0

    def __add__(self, other: "StreamSize") -> "StreamSize":
        return StreamSize(
            max(self.width, other.width),
            max(self.height, other.height),
            self.coded_pictures + other.coded_pictures,
            self.slices + other.slices,
        )


class Bits:
    """Reads bits, most significant bit first. Raises ValueError at the end of the data."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("a header of the stream is too short")
        return self._value >> self._left & (1 << count) - 1

    def flag(self) -> bool:
        return self.read(1) == 1

    def exp_golomb(self) -> int:
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > 32:
                raise ValueError("a number in a header of the stream is too large")
        return (1 << zeros) - 1 + self.read(zeros)


# ---------------------------------------------------------------- HEVC (ITU-T H.265)

_SPS = 33
_SLICES = range(32)
_HEADER_BYTES = 512  # the image size is within the first bytes of a parameter set


def hevc_configuration(body: bytes) -> tuple[StreamSize, int]:
    """Read a box hvcC. Returns the sizes in the parameter sets, and the size in bytes of the length
    field in front of each NAL unit of an item. Raises ValueError."""
    if len(body) < 23:
        raise ValueError("the hvcC box is too short")
    size, at = StreamSize(), 23
    for _ in range(body[22]):
        count = int.from_bytes(body[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            length = int.from_bytes(body[at : at + 2], "big")
            size += _nal_unit(body[at + 2 : at + 2 + length])
            at += 2 + length
            if at > len(body):
                raise ValueError("the hvcC box is too short")
    return size, (body[21] & 3) + 1


def hevc_item(data: bytes, length_bytes: int) -> StreamSize:
    """Return the sizes in the NAL units of an item. Raises ValueError."""
    size, at = StreamSize(), 0
    for _ in range(MAX_UNITS):
        if at + length_bytes > len(data):
            return size
        length = int.from_bytes(data[at : at + length_bytes], "big")
        at += length_bytes
        size += _nal_unit(data[at : at + min(length, _HEADER_BYTES)])
        at += length
    raise ValueError(f"more than {MAX_UNITS:,} NAL units")


def _nal_unit(data: bytes) -> StreamSize:
    nal_type = data[0] >> 1 & 63 if data else -1
    if nal_type in _SLICES and len(data) > 2:
        first = data[2] >> 7  # first_slice_segment_in_pic_flag
        return StreamSize(coded_pictures=first, slices=1)
    if nal_type == _SPS:
        # Remove the emulation prevention bytes.
        return _sps(Bits(data[2:_HEADER_BYTES].replace(b"\0\0\3", b"\0\0")))
    return StreamSize()


def _sps(bits: Bits) -> StreamSize:
    bits.read(4)  # sps_video_parameter_set_id
    layers = bits.read(3)  # sps_max_sub_layers_minus1
    bits.read(1)  # sps_temporal_id_nesting_flag
    bits.read(88 + 8)  # general profile, tier and level
    present = [(bits.flag(), bits.flag()) for _ in range(layers)]
    if layers:
        bits.read(2 * (8 - layers))
    for profile, level in present:
        bits.read(88 * profile + 8 * level)
    bits.exp_golomb()  # sps_seq_parameter_set_id
    if bits.exp_golomb() == 3:  # chroma_format_idc
        bits.read(1)  # separate_colour_plane_flag
    return StreamSize(bits.exp_golomb(), bits.exp_golomb())


# ---------------------------------------------------------------- AV1

_SEQUENCE, _FRAME_HEADER, _FRAME = 1, 3, 6
_SELECT = 2  # the value is in the frame header


@dataclass(slots=True)
class _Sequence:
    """The fields of an AV1 sequence header that are needed to read a frame header."""

    reduced: bool
    width_bits: int
    height_bits: int
    frame_id_bits: int
    screen_content: int
    integer_motion: int
    decoder_model: bool
    equal_interval: bool
    presentation_bits: int


def av1_stream(data: bytes) -> StreamSize:
    """Return the sizes in the OBUs of an item or of a box av1C.

    Raises ValueError for damaged data, and if the size of a frame differs from the size in its
    sequence header. Frames of still images never differ.
    """
    size = StreamSize()
    sequence: _Sequence | None = None
    for obu_type, body in _obus(data):
        if obu_type == _SEQUENCE:
            sequence, declared_size = _sequence_header(Bits(body[:_HEADER_BYTES]))
            size += declared_size
        elif obu_type in (_FRAME_HEADER, _FRAME):
            if sequence is None or _overrides_size(sequence, Bits(body[:64])):
                raise ValueError("the size of a frame differs from the size of its sequence")
            size += StreamSize(coded_pictures=1, slices=1)
    return size


def _obus(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    for _ in range(MAX_UNITS):
        if at >= len(data):
            return
        head = data[at]
        at += 2 if head & 4 else 1  # an extension follows
        length = len(data) - at
        if head & 2:
            length, at = _leb128(data, at)
        yield head >> 3 & 15, data[at : at + length]
        at += length
    raise ValueError(f"more than {MAX_UNITS:,} OBUs")


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[at : at + 8]):
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, at + index + 1
    raise ValueError("a length field in the stream is too long")


def _sequence_header(bits: Bits) -> tuple[_Sequence, StreamSize]:
    bits.read(4)  # seq_profile, still_picture
    reduced = bits.flag()  # reduced_still_picture_header
    has_decoder_model = equal_interval = False
    presentation_bits = 0
    if reduced:
        bits.read(5)  # seq_level_idx
    else:
        has_decoder_model, equal_interval, presentation_bits = _operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    declared_size = StreamSize(bits.read(width_bits) + 1, bits.read(height_bits) + 1)
    frame_id_bits, screen_content, integer_motion = 0, _SELECT, _SELECT
    if not reduced:
        if bits.flag():  # frame_id_numbers_present_flag
            delta = bits.read(4) + 2
            frame_id_bits = bits.read(3) + delta + 1
        bits.read(3)  # superblock size, filter_intra, intra_edge_filter
        bits.read(4)  # interintra, masked and warped motion, dual_filter
        if bits.flag():  # enable_order_hint
            bits.read(2)  # enable_jnt_comp, enable_ref_frame_mvs
        # seq_choose_screen_content_tools, then seq_choose_integer_mv
        screen_content = _SELECT if bits.flag() else bits.read(1)
        if screen_content and not bits.flag():
            integer_motion = bits.read(1)
    sequence = _Sequence(
        reduced, width_bits, height_bits, frame_id_bits, screen_content, integer_motion,
        has_decoder_model, equal_interval, presentation_bits,
    )  # fmt: skip
    return sequence, declared_size


def _operating_points(bits: Bits) -> tuple[bool, bool, int]:
    """Read the timing fields of a sequence header. Returns (decoder_model_info_present_flag,
    equal_picture_interval, number of bits of a presentation time)."""
    has_decoder_model = equal_interval = False
    delay_bits = presentation_bits = 0
    if bits.flag():  # timing_info_present_flag
        bits.read(64)  # num_units_in_display_tick, time_scale
        if equal_interval := bits.flag():
            bits.exp_golomb()
        if has_decoder_model := bits.flag():
            delay_bits = bits.read(5) + 1
            bits.read(32 + 5)  # decoding tick, buffer_removal_time_length
            presentation_bits = bits.read(5) + 1
    delays = bits.flag()  # initial_display_delay_present_flag
    for _ in range(bits.read(5) + 1):
        bits.read(12)  # operating_point_idc
        if bits.read(5) > 7:  # seq_level_idx
            bits.read(1)  # seq_tier
        if has_decoder_model and bits.flag():
            bits.read(2 * delay_bits + 1)
        if delays and bits.flag():
            bits.read(4)
    return has_decoder_model, equal_interval, presentation_bits


def _overrides_size(sequence: _Sequence, bits: Bits) -> bool:
    """Return whether a frame header overrides the size of the sequence header."""
    if sequence.reduced or bits.flag():  # show_existing_frame
        return False
    frame_type, is_shown = bits.read(2), bits.flag()
    if is_shown and sequence.decoder_model and not sequence.equal_interval:
        bits.read(sequence.presentation_bits)
    if not is_shown:
        bits.read(1)  # showable_frame
    if frame_type == 3:  # a switch frame always overrides the size
        return True
    if not (frame_type == 0 and is_shown):  # a shown key frame has no such flag
        bits.read(1)  # error_resilient_mode
    bits.read(1)  # disable_cdf_update
    screen_content = sequence.screen_content
    if screen_content == _SELECT:
        screen_content = bits.read(1)
    if screen_content and sequence.integer_motion == _SELECT:
        bits.read(1)  # force_integer_mv
    bits.read(sequence.frame_id_bits)
    return bits.flag()  # frame_size_override_flag
