"""Who may call: keys, addresses that others reach, certificates, and the key that profiles' secrets are kept with."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from breezeway_shim.config import ShimSettings
from breezeway_shim.tls import BadTls, channel_credentials, http_context
from cryptography import x509

from breezeway_server.agents.errors import ConfigError
from breezeway_server.cli.doctor.finding import Finding, fail, ok, warn
from breezeway_server.cli.doctor.store import Stored
from breezeway_server.config import ServerSettings
from breezeway_server.exposure import check_exposure, is_local
from breezeway_server.profiles.secrets import SecretBox, SecretsLost
from breezeway_server.services.keyring import KeyRing
from breezeway_server.services.transport import transport_of

_SOON = timedelta(days=14)


def check_keys(server: ServerSettings, stored: Stored) -> list[Finding]:
    """Whether callers need keys, and whether there is one that is good."""
    ring = KeyRing(stored.keys, server.plain_keys)
    if not ring.guarded:
        return [ok("keys", "There are none: whoever is on this machine may do everything, and nobody else may call.")]
    good = len(server.plain_keys) + sum(ring.invalid(each.key) is None for each in stored.keys)
    if not good:
        advice = "Make one with `breezeway keys create`."
        return [warn("keys", "All were revoked or have expired: nobody can call.", advice)]
    return [ok("keys", f"{good} are good, of {len(server.plain_keys) + len(stored.keys)}.")]


def check_addresses(server: ServerSettings, shim: ShimSettings, stored: Stored) -> list[Finding]:
    """Whether what others reach asks for keys, and is encrypted."""
    try:
        check_exposure([server.grpc_listen, shim.http_listen], server.plain_keys, stored_keys=bool(stored.keys))
    except ConfigError as error:
        return [fail("exposure", str(error))]
    findings = [
        warn(
            "exposure",
            f"{address} is open to others without TLS, so that keys travel in the clear.",
            f"Set {settings}, unless a proxy in front of it speaks TLS.",
        )
        for address, cert, settings in (
            (server.grpc_listen, server.grpc_tls_cert, "BREEZEWAY_GRPC_TLS_CERT and BREEZEWAY_GRPC_TLS_KEY"),
            (shim.http_listen, shim.http_tls_cert, "BREEZEWAY_HTTP_TLS_CERT and BREEZEWAY_HTTP_TLS_KEY"),
        )
        if not is_local(address) and cert is None
    ]
    return findings or [ok("exposure", "Nothing is open to others that should not be.")]


def check_tls(server: ServerSettings, shim: ShimSettings) -> list[Finding]:
    """Whether the files for TLS can be used, and how long the certificates are good."""
    findings: list[Finding] = []
    try:
        transport_of(server)
    except ConfigError as error:
        findings.append(fail("TLS", str(error)))
    for use in (http_context, channel_credentials):
        try:
            use(shim)
        except BadTls as error:
            findings.append(fail("TLS", str(error)))
    for setting, path in (
        ("BREEZEWAY_GRPC_TLS_CERT", server.grpc_tls_cert),
        ("BREEZEWAY_HTTP_TLS_CERT", shim.http_tls_cert),
        ("BREEZEWAY_GRPC_CERT", shim.grpc_cert),
    ):
        if path is not None and path.is_file():
            findings.append(_certificate(setting, path))
    return findings


def check_secrets(server: ServerSettings, stored: Stored) -> list[Finding]:
    """Whether the secrets of profiles can be read."""
    check = "secret key"
    keeping = [profile for profile in stored.profiles if profile.secrets is not None]
    if server.secret_key is None:
        if keeping:
            names = ", ".join(profile.name for profile in keeping)
            return [fail(check, f"The secrets of {names} cannot be read.", "Set the BREEZEWAY_SECRET_KEY of before.")]
        return [ok(check, "There is none; agents made over the API need it once they have secrets.")]
    box = SecretBox(server.secret_key.get_secret_value())
    lost = [profile.name for profile in keeping if _opened(box, profile.name, profile.secrets) is None]
    if lost:
        advice = "Set the BREEZEWAY_SECRET_KEY of before, or set the secrets again."
        return [fail(check, f"It does not open the secrets of {', '.join(lost)}.", advice)]
    return [ok(check, f"It is set, and opens the secrets of {len(keeping)} profiles.")]


def _opened(box: SecretBox, owner: str, kept: bytes | None) -> dict[str, object] | None:
    try:
        return box.open(owner, kept or b"")
    except SecretsLost:
        return None


def _certificate(setting: str, path: Path) -> Finding:
    try:
        chain: Sequence[x509.Certificate] = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return fail("TLS", f"{setting}: {path} holds no certificate that can be read.", "Correct the file.")
    until = min(certificate.not_valid_after_utc for certificate in chain)
    left = until - datetime.now(UTC)
    said = f"{setting}: {path} is good until {until:%Y-%m-%d}."
    if left <= timedelta():
        return fail("TLS", f"{setting}: {path} has expired, on {until:%Y-%m-%d}.", "Renew it and start again.")
    return warn("TLS", said, "Renew it and start again.") if left < _SOON else ok("TLS", said)
