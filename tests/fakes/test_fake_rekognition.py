"""Our Rekognition is what Amazon's own client expects."""

import io
import time

import boto3
import botocore.config
import botocore.exceptions
import pytest
from PIL import Image

from fakes.aws import FakeAws, Key
from fakes.rekognition import FORMS, FakeRekognition, RekognitionFault, box, label, red_person


def picture(width=200, height=100, kind="JPEG", red=None, orientation=None):
    image = Image.new("RGB", (width, height), (0, 0, 255))
    if red:
        image.paste((255, 0, 0), red)
    out, more = io.BytesIO(), {}
    if orientation:
        more["exif"] = Image.Exif()
        more["exif"][0x0112] = orientation
    image.save(out, kind, **more)
    return out.getvalue()


@pytest.fixture(name="account")
def account_fixture():
    account = FakeAws()
    account.keys["AKID"] = Key("secret")
    yield account
    account.close()


@pytest.fixture(name="fake")
def fake_fixture(account):
    fake = FakeRekognition("eu-west-1", account)
    yield fake
    fake.close()


def client(fake, key="AKID", secret="secret", token=None, region="eu-west-1", tries=1):
    return boto3.client(
        "rekognition", region_name=region, endpoint_url=fake.url, aws_access_key_id=key,
        aws_secret_access_key=secret, aws_session_token=token,
        config=botocore.config.Config(retries={"total_max_attempts": tries}))


def code_of(action):
    with pytest.raises(botocore.exceptions.ClientError) as e:
        action()
    return e.value.response["Error"]["Code"]


def ask(rekognition, data=None, **more):
    return rekognition.detect_labels(Image={"Bytes": picture() if data is None else data}, **more)


def test_boto3_gets_labels_and_each_answer_is_billed(fake):
    answer = ask(client(fake))
    assert [x["Name"] for x in answer["Labels"]] == ["Person", "Car", "Outdoors"]
    assert answer["Labels"][0]["Instances"][0]["BoundingBox"]["Width"] == 0.3
    assert answer["LabelModelVersion"] == "3.0"
    assert fake.billed == 1


def test_minimum_and_number_of_labels_are_obeyed(fake):
    assert [x["Name"] for x in ask(client(fake), MinConfidence=85)["Labels"]] == ["Person", "Car"]
    assert len(ask(client(fake), MaxLabels=1)["Labels"]) == 1
    fake.labels = [label("Dog", 54), label("Cat", 56)]
    assert [x["Name"] for x in ask(client(fake))["Labels"]] == ["Cat"]


@pytest.mark.parametrize("form", FORMS)
def test_errors_are_understood_in_each_form(fake, form):
    fake.faults.append(RekognitionFault("ThrottlingException", form=form, message="slower"))
    with pytest.raises(botocore.exceptions.ClientError) as e:
        ask(client(fake))
    said = e.value.response
    if form == "header":  # which this client reads of other services only
        assert said["ResponseMetadata"]["HTTPHeaders"]["x-amzn-errortype"].startswith("Throttling")
    else:
        assert said["Error"] == {"Code": "ThrottlingException", "Message": "slower"}
    assert fake.billed == 0


def test_what_is_signed_wrongly_is_refused(fake):
    assert code_of(lambda: ask(client(fake, secret="no"))) == "InvalidSignatureException"
    assert code_of(lambda: ask(client(fake, key="X"))) == "UnrecognizedClientException"
    assert code_of(lambda: ask(client(fake, region="us-east-1"))) == "InvalidSignatureException"
    assert code_of(lambda: ask(client(fake, token="x"))) == "UnrecognizedClientException"
    name, key = fake.issue(None, expires=time.time() - 1)
    assert code_of(lambda: ask(client(fake, name, key.secret, key.token))) == "ExpiredTokenException"
    fake.clock = lambda: time.time() + 3600
    assert code_of(lambda: ask(client(fake))) == "InvalidSignatureException"
    assert fake.billed == 0


def test_pictures_beyond_the_limits_are_refused(fake):
    assert code_of(lambda: ask(client(fake), picture(60, 60))) == "InvalidParameterException"
    assert code_of(lambda: ask(client(fake), picture(10001, 80))) == "InvalidParameterException"
    assert code_of(lambda: ask(client(fake), picture(kind="GIF"))) == "InvalidImageFormatException"
    assert code_of(lambda: ask(client(fake), b"no")) == "InvalidImageFormatException"
    big = picture() + b"\0" * 5242880
    assert code_of(lambda: ask(client(fake), big)) == "ImageTooLargeException"
    assert fake.billed == 0


def test_boto3_tries_again_when_throttled_and_when_an_answer_is_lost(fake):
    fake.faults += [RekognitionFault("ThrottlingException"), RekognitionFault(after=True, cut=True),
                    RekognitionFault("InternalServerError")]
    ask(client(fake, tries=5))
    assert fake.billed == 2  # the lost one as well


def test_an_answer_that_breaks_off_is_billed(fake):
    fake.faults.append(RekognitionFault(cut_body=True))
    assert "Labels" not in ask(client(fake))  # it makes nothing of it, and does not complain
    assert fake.billed == 1


def test_more_than_so_many_a_second_are_throttled(fake):
    fake.per_second = 2
    rekognition = client(fake)
    ask(rekognition), ask(rekognition)
    assert code_of(lambda: ask(rekognition)) == "ThrottlingException"


@pytest.mark.parametrize("kind,orientation,found", [
    ("JPEG", None, (0.5, 0.0, 0.25, 0.5)), ("JPEG", 6, (0.5, 0.5, 0.5, 0.25)),
    ("PNG", None, (0.5, 0.0, 0.25, 0.5)), ("PNG", 6, (0.5, 0.0, 0.25, 0.5))])
def test_boxes_are_those_of_the_upright_picture_for_jpeg_only(fake, kind, orientation, found):
    fake.look = red_person
    data = picture(400, 200, kind, (200, 0, 300, 100), orientation)
    b = ask(client(fake), data)["Labels"][0]["Instances"][0]["BoundingBox"]
    assert (b["Left"], b["Top"], b["Width"], b["Height"]) == pytest.approx(found, abs=0.04)


def test_a_box_may_lie_outside(fake):
    fake.labels = [label("Person", 99, [box(-0.1, 0.9, 0.3, 0.4, 99)])]
    b = ask(client(fake))["Labels"][0]["Instances"][0]["BoundingBox"]
    assert b["Left"] == -0.1
