"""Every way to get `alerting` wrong, and that no secret is repeated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from controller.settings import ConfigError, parse
from controller.settings.alerting import AlertingSettings

POOL = "pools:\n  - {name: small, model: small, checkpoint: small.gguf}\n"
MAIL = "smarthost: 'mail:587', from: a@example.org, to: [b@example.org]"


def alerting(text: str) -> AlertingSettings:
    return parse(f"{POOL}alerting: {{{text}}}\n", "c.yaml").alerting


def receiver(text: str) -> str:
    return f"receivers: [{{name: team, {text}}}]"


@dataclass(frozen=True)
class Bad:
    name: str
    text: str
    said: str


CASES = (
    Bad("an unknown key", "enable: true", "did you mean `enabled`?"),
    Bad("an unknown key of a receiver", receiver("slak: {}"), "did you mean `slack`?"),
    Bad(
        "an unknown key of a mail",
        receiver(f"email: {{{MAIL}, port: 5}}"),
        "unknown key `alerting.receivers.0.email.port`",
    ),
    Bad("no unit", "group_wait: 10", "10 is no duration"),
    Bad("no interval", "group_interval: 0s", "must be above 0"),
    Bad("a repeat that is too soon", "group_interval: 5m, repeat_interval: 1m", "would never come sooner than that"),
    Bad("receivers of nobody", "enabled: false, " + receiver("webhook: {url: 'http://x/'}"), "switches off"),
    Bad("a receiver without a way", receiver("severities: [critical]"), "needs one of webhook, slack, email"),
    Bad(
        "two ways", receiver(f"webhook: {{url: 'http://x/'}}, email: {{{MAIL}}}"), "needs one of webhook, slack, email"
    ),
    Bad("no severity", receiver("severities: [], webhook: {url: 'http://x/'}"), "at least 1 item"),
    Bad(
        "another severity",
        receiver("severities: [page], webhook: {url: 'http://x/'}"),
        "'critical', 'warning' or 'info'",
    ),
    Bad(
        "two of a name",
        "receivers: [{name: a, webhook: {url: 'http://x/'}}, {name: a, webhook: {url: 'http://y/'}}]",
        "two receivers have the name 'a'",
    ),
    Bad("a name with a blank", "receivers: [{name: 'a b', webhook: {url: 'http://x/'}}]", "'a b' is no name"),
    Bad("no address", receiver("webhook: {url: 'ftp://x/'}"), "it is no address to post to"),
    Bad("an address with Go's braces", receiver("webhook: {url: 'http://x/{{ .A }}'}"), "it is no address to post to"),
    Bad("an address of two lines", receiver('webhook: {url: "http://x/\\nroute: {}"}'), "it is no address to post to"),
    Bad("a password in an address", receiver("webhook: {url: 'http://me:hunter2@x/'}"), "a user or password in it"),
    Bad("no address at all", receiver("webhook: {token_file: /t}"), "give either url, or url_file"),
    Bad("both addresses", receiver("webhook: {url: 'http://x/', url_file: /u}"), "give either url, or url_file"),
    Bad("an address for a file", receiver("webhook: {url_file: 'https://x/hunter2'}"), "write the URL into a file"),
    Bad("a relative path", receiver("webhook: {url: 'http://x/', token_file: t}"), "'t' is no absolute path"),
    Bad(
        "Slack's secret",
        receiver("slack: {url: 'https://hooks.slack.com/services/hunter2'}"),
        "write the URL into a file",
    ),
    Bad("Slack's secret for a file", receiver("slack: {url_file: 'https://x/hunter2'}"), "write the URL into a file"),
    Bad("no channel", receiver("slack: {url_file: /u, channel: 'a, b'}"), "'a, b' is no channel"),
    Bad("a channel with Go's braces", receiver("slack: {url_file: /u, channel: '#{{ 1 }}'}"), "is no channel"),
    Bad(
        "a mail's password",
        receiver(f"email: {{{MAIL}, username: a, password: hunter2}}"),
        "write the password into a file",
    ),
    Bad("no mail server", receiver(f"email: {{{MAIL.replace(':587', '')}}}"), "'mail' is no mail server"),
    Bad("nobody to mail", receiver(f"email: {{{MAIL.replace('b@example.org', '')}}}"), "at least 1 item"),
    Bad("two in one address", receiver(f"email: {{{MAIL.replace('b@', 'c@x>, <b@')}}}"), "is no e-mail address"),
    Bad(
        "a header in an address",
        receiver(f"email: {{{MAIL.replace('b@example.org', chr(34) + 'b@x' + chr(92) + 'nBcc: c@x' + chr(34))}}}"),
        "is no e-mail address",
    ),
    Bad(
        "a user without a password",
        receiver(f"email: {{{MAIL}, username: a}}"),
        "username and password_file belong together",
    ),
    Bad(
        "a password in the clear",
        receiver(f"email: {{{MAIL}, username: a, password_file: /p, tls: false}}"),
        "without tls everybody on the way would read the password",
    ),
    Bad("a port that is taken", "}\nports: {alertmanager: 9090", "alertmanager and prometheus are both 9090"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused_with_what_would_be_right(case: Bad) -> None:
    with pytest.raises(ConfigError) as refused:
        alerting(case.text)

    assert case.said in str(refused.value)
    assert str(refused.value).startswith("c.yaml:")
    assert "hunter2" not in str(refused.value)


def test_nothing_has_to_be_said() -> None:
    found = parse(POOL, "c.yaml")

    assert (found.alerting.enabled, found.alerting.receivers, found.ports.alertmanager) == (True, (), 9093)


def test_what_is_said_is_taken() -> None:
    found = alerting(
        "group_wait: 0s, group_interval: 30s, repeat_interval: 1h, receivers: ["
        "{name: oncall, severities: [critical], webhook: {url: 'https://x.example/hook?a=1', token_file: /t}}, "
        "{name: team, slack: {url_file: /u, channel: '#ops'}}, "
        f"{{name: mail, severities: [critical, info], email: {{{MAIL}, username: me, password_file: /p}}}}]"
    )
    oncall, team, mail = found.receivers

    assert (found.group_wait, found.group_interval) == (timedelta(0), timedelta(seconds=30))
    assert oncall.webhook is not None
    assert (oncall.webhook.url, oncall.severities) == ("https://x.example/hook?a=1", ("critical",))
    assert team.slack is not None
    assert (team.slack.channel, team.severities) == ("#ops", ("critical", "warning"))
    assert mail.email is not None
    assert (mail.email.sender, mail.email.to, mail.email.tls) == ("a@example.org", ("b@example.org",), True)


SECRETS = [
    pytest.param("slack: {{url_file: {file}}}", "https://hooks.slack.com/services/hunter2", id="Slack"),
    pytest.param("webhook: {{url_file: {file}}}", "https://x.example/hunter2", id="webhook"),
    pytest.param("webhook: {{url: 'http://x/', token_file: {file}}}", "hunter2", id="token"),
    pytest.param("email: {{" + MAIL + ", username: a, password_file: {file}}}", "hunter2", id="mail"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_a_secret_is_good_in_a_file_of_its_owner_only(tmp_path: Path, text: str, secret: str) -> None:
    file = tmp_path / "secret"
    (given,) = alerting(receiver(text.format(file=file))).receivers
    for content, mode, said in (
        (None, 0o600, "cannot be read"),
        (secret, 0o640, "others than its owner may use it (mode 0640)"),
        (f"{secret}\n{secret}", 0o600, "alone on one line"),
        ("\n", 0o600, "alone on one line"),
    ):
        if content is not None:
            file.write_text(content)
            file.chmod(mode)
        with pytest.raises(ConfigError) as refused:
            given.secrets()
        assert said in str(refused.value)
        assert "hunter2" not in str(refused.value)

    file.write_text(secret + "\n")
    file.chmod(0o400)
    given.secrets()
