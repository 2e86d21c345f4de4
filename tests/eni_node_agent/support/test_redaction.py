import pytest
from hypothesis import given
from hypothesis import strategies as st

from eni_node_agent.support import redaction
from eni_node_agent.support.redaction import LEFT_OUT, redacted

SECRET = "hunter2-x9"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'{{"password": "{SECRET}", "mtu": 9001}}', f'{{"password": "{LEFT_OUT}", "mtu": 9001}}'),
        (f'{{"clientSecret":"{SECRET}"}}', f'{{"clientSecret":"{LEFT_OUT}"}}'),
        (f'{{"k8s_auth_token": "a \\"b\\" {SECRET}"}}', f'{{"k8s_auth_token": "{LEFT_OUT}"}}'),
        (f'{{"m": "{{\\"token\\": \\"{SECRET}\\"}}"}}', f'{{"m": "{{\\"token\\": \\"{LEFT_OUT}\\"}}"}}'),
        (f"aws_secret_access_key = {SECRET}", f"aws_secret_access_key = {LEFT_OUT}"),
        (f"DB_PASSWORD={SECRET} next", f"DB_PASSWORD={LEFT_OUT} next"),
        (f"token: '{SECRET}'", f"token: '{LEFT_OUT}'"),
        (f"Bearer {SECRET}", f"Bearer {LEFT_OUT}"),
        (f"x {TOKEN} y", f"x {LEFT_OUT} y"),
        ("id AKIAIOSFODNN7EXAMPLE", f"id {LEFT_OUT}"),
        (f"https://user:{SECRET}@api.example/x", f"https://{LEFT_OUT}@api.example/x"),
        (f"a\n{KEY}\nb", f"a\n{LEFT_OUT}\nb"),
        (KEY[:50], LEFT_OUT),
    ],
)
def test_leaves_secrets_out_and_the_rest_as_it_is(text: str, expected: str) -> None:
    assert redacted(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"address": "10.0.1.4", "pod": "default/web-0", "eni_id": "eni-0123456789abcdef0"}',
        "10.0.1.4 lladdr ea:58:0a:00:01:04 permanent",
        'eni_agent_request_seconds_count{outcome="success",verb="ADD"} 1.0',
        "https://10.0.0.1:6443/api",
    ],
)
def test_leaves_alone_what_is_none(text: str) -> None:
    assert redacted(text) == text


def test_known_secrets_are_left_out_wherever_they_stand() -> None:
    assert redacted(f"note: {SECRET}!", [SECRET]) == f"note: {LEFT_OUT}!"
    assert redacted("node-a", ["a"]) == "node-a"


def test_variables_that_say_they_are_secret_are_known() -> None:
    environ = {"AWS_SECRET_ACCESS_KEY": "s1", "GITHUB_TOKEN": "s2", "WARM_IP_TARGET": "5", "db_password": "s3"}
    assert set(redaction.secrets_in(environ)) == {"s1", "s2", "s3"}


@given(st.text(max_size=40), st.text(max_size=40), st.from_regex(r"[A-Za-z0-9]{10,30}", fullmatch=True))
def test_a_named_value_never_survives(before: str, after: str, secret: str) -> None:
    text = f'{before}{{"apiKey": "{secret}"}}{after}'
    assert secret not in redacted(text) or secret in before + after


@pytest.mark.timeout(10)
@pytest.mark.parametrize("line", ["a" * 1_000_000, "token" * 100_000, '"password": "' + "x" * 500_000])
def test_a_long_line_does_not_take_long(line: str) -> None:
    redacted(line)
