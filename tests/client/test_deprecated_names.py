"""Old names of the client still work, with a DeprecationWarning."""

import emotions
import pytest

from tests.client.conftest import Response
from tests.conftest import image_file

IMAGE = image_file()

OLD_EXCEPTIONS = {
    "BadPicture": emotions.BadImage,
    "ServiceAway": emotions.ServiceUnreachable,
    "TookTooLong": emotions.DeadlineExceeded,
    "UnreadablePicture": emotions.UnreadableImage,
}


@pytest.mark.parametrize("module", [emotions, emotions.errors])
@pytest.mark.parametrize(("old", "new"), OLD_EXCEPTIONS.items())
def test_old_exception_name_warns_and_works(module, old, new):
    with pytest.warns(DeprecationWarning, match=f"{old} is deprecated: use {new.__name__}"):
        assert getattr(module, old) is new


def test_unknown_attribute_raises_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'BadVideo'"):
        _ = emotions.BadVideo


def test_old_argument_names_warn_and_work(scripted, client):
    with pytest.warns(DeprecationWarning, match="the argument picture is deprecated: use image"):
        assert client.analyse(picture=IMAGE).id == 7
    with pytest.warns(DeprecationWarning, match="use image"):
        client.annotated(picture=IMAGE)
    with pytest.warns(DeprecationWarning, match="the argument pictures is deprecated: use images"):
        assert [outcome.source for outcome in client.analyse_many(pictures=[IMAGE])] == [IMAGE]
    assert all(IMAGE in request.body for request in scripted.requests)
    assert not any(b'; name="picture"' in request.body for request in scripted.requests)


def test_old_and_new_name_of_an_argument_are_rejected_together(scripted, client):
    with pytest.raises(TypeError, match="image was passed twice, also as picture"):
        client.analyse(image=IMAGE, picture=b"another")
    assert scripted.requests == []


def test_old_method_name_warns_and_works(scripted, client):
    scripted.responses = [Response(200, IMAGE)]
    with pytest.warns(DeprecationWarning, match="picture is deprecated: use image_file"):
        assert client.picture(7) == client.image_file(7) == IMAGE
    assert {request.path for request in scripted.requests} == {"/v1/images/7/picture"}
