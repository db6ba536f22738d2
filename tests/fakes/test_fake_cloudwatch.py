"""Our CloudWatch is what Amazon's own client expects."""

import datetime
import time

import boto3
import botocore.config
import botocore.exceptions
import pytest

from fakes.aws import FakeAws, Key
from fakes.cloudwatch import CloudWatchFault, FakeCloudWatch

ROLE = "arn:aws:iam::123456789012:role/metrics"
NOW = datetime.datetime.now(datetime.timezone.utc)


@pytest.fixture(name="account")
def account_fixture():
    account = FakeAws()
    account.keys["AKID"] = Key("secret")
    yield account
    account.close()


@pytest.fixture(name="fake")
def fake_fixture(account):
    fake = FakeCloudWatch("eu-west-1", account)
    yield fake
    fake.close()


def client(fake, key="AKID", secret="secret", token=None, region="eu-west-1"):
    return boto3.client(
        "cloudwatch", region_name=region, endpoint_url=fake.url, aws_access_key_id=key,
        aws_secret_access_key=secret, aws_session_token=token,
        config=botocore.config.Config(retries={"total_max_attempts": 1}))


def errors(**more):
    return {"MetricName": "Errors", "Value": 1, "Unit": "Count", "Timestamp": NOW,
            "Dimensions": [{"Name": "Application", "Value": "app"},
                           {"Name": "Device", "Value": "porch"}], **more}


def put(fake, *data, namespace="automation", **login):
    return client(fake, **login).put_metric_data(Namespace=namespace, MetricData=list(data))


def code_of(action):
    with pytest.raises(botocore.exceptions.ClientError) as e:
        action()
    return e.value.response["Error"]["Code"]


def test_what_boto3_puts_is_remembered(fake):
    put(fake, errors(), errors(Value=2.5, Unit="Seconds"))
    first, second = fake.data
    assert first.namespace == "automation" and first.dimensions == {"Application": "app",
                                                                    "Device": "porch"}
    assert (first.unit, first.samples) == ("Count", [(1, 1)])
    assert first.at == pytest.approx(NOW.timestamp(), abs=1)
    assert (second.unit, second.sum, second.count) == ("Seconds", 2.5, 1)
    assert fake.sum("Errors", Device="porch") == 3.5 and fake.sum("Errors", Device="gate") == 0


def test_samples_may_be_told_by_their_number(fake):
    one = errors(Values=[1.0, 5.0], Counts=[7, 1])
    del one["Value"]
    put(fake, one)
    assert (fake.data[0].sum, fake.data[0].count) == (12, 8)


@pytest.mark.parametrize("change,code", [
    ({"Values": [1.0]}, "InvalidParameterCombination"),
    ({"Value": 2.0 ** 361}, "InvalidParameterValue"),
    ({"Value": float("nan")}, "InvalidParameterValue"),
    ({"Timestamp": NOW - datetime.timedelta(days=15)}, "InvalidParameterValue"),
    ({"Timestamp": NOW + datetime.timedelta(hours=3)}, "InvalidParameterValue"),
    ({"Dimensions": [{"Name": "Device", "Value": "T\u00fcr"}]}, "InvalidParameterValue"),
    ({"Dimensions": [{"Name": "Device", "Value": "  "}]}, "InvalidParameterValue"),
    ({"Dimensions": [{"Name": "A", "Value": "x"}] * 2}, "InvalidParameterValue"),
])
def test_what_the_service_does_not_take_is_refused(fake, change, code):
    assert code_of(lambda: put(fake, errors(**change))) == code
    assert not fake.data


def test_limits_of_a_request_are_kept(fake):
    put(fake, *[errors()] * 1000)
    assert code_of(lambda: put(fake, *[errors()] * 1001)) == "InvalidParameterValue"
    assert code_of(lambda: put(fake, errors(), namespace=":x")) == "InvalidParameterValue"
    assert len(fake.data) == 1000


def test_signatures_regions_and_sessions_are_checked(fake, account):
    assert code_of(lambda: put(fake, errors(), secret="wrong")) == "SignatureDoesNotMatch"
    assert code_of(lambda: put(fake, errors(), key="WHO")) == "InvalidClientTokenId"
    assert code_of(lambda: put(fake, errors(), region="us-east-1")) == "SignatureDoesNotMatch"
    account.clock = lambda: time.time()
    name, key = account.issue(ROLE, expires=time.time() - 1)
    assert code_of(lambda: put(fake, errors(), key=name, secret=key.secret,
                               token=key.token)) == "ExpiredToken"
    assert not fake.data


def test_a_session_has_a_name_that_sts_takes(account):
    account.roles[ROLE] = True
    sts = boto3.client("sts", region_name="eu-west-1", endpoint_url=account.url,
                       aws_access_key_id="AKID", aws_secret_access_key="secret")
    assert sts.assume_role(RoleArn=ROLE, RoleSessionName="app-session")["Credentials"]["SessionToken"]
    for name in (ROLE, "a b", "x" * 65):
        assert code_of(lambda n=name: sts.assume_role(RoleArn=ROLE, RoleSessionName=n)) == \
            "ValidationError"


@pytest.mark.parametrize("code,status", [("Throttling", 400), ("InternalServiceFault", 500),
                                         ("ServiceUnavailable", 503)])
def test_faults_are_understood(fake, code, status):
    fake.faults.append(CloudWatchFault(code, message="slower"))
    with pytest.raises(botocore.exceptions.ClientError) as e:
        put(fake, errors())
    said = e.value.response
    assert (said["Error"]["Code"], said["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    put(fake, errors())
    assert fake.sum("Errors") == 1


def test_a_lost_answer_was_taken(fake):
    fake.faults.append(CloudWatchFault(cut=True, after=True))
    with pytest.raises(botocore.exceptions.BotoCoreError):
        put(fake, errors())
    assert fake.sum("Errors") == 1
