"""The certificate authority and the server certificate, as resources of the stack.

Both are dynamic resources that generate inside `create`, so a preview never makes a key. A server certificate is
reissued when what matters changes (names, key type, days, CERTIFICATE_GENERATION, or the authority itself), never
because time passed and never because this code changed; `check` writes why into the input `reason`, so that the
preview says it. A reissue keeps the authority.

**Invariant:** no private key passes through the engine, which prints every property in plaintext at `-v=9`. Keys are
outputs in sealed form (`pki.sealing`), marked secret as well; `components.key_material` alone opens them.

The engine keeps a reference to the provider classes by module and name: do not rename this module or the classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult
from pulumi.runtime.rpc import UNKNOWN

from pki.request import CertificateRequest

_MATTERS = ("names", "key_type", "days", "generation", "ca_sha256")
"""The inputs whose change reissues the server certificate."""


class AuthorityProvider(ResourceProvider):
    """Makes the authority once and keeps it."""

    # The reference to this class is no secret, and in plaintext it can be seen to stay what it is.
    serialize_as_secret_always = False

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """An authority's subject is fixed when it is made: another one would be another authority."""
        return CheckResult({"common_name": olds.get("common_name") or news["common_name"]}, [])

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Never changed: whoever trusts the authority goes on to."""
        return DiffResult(changes=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """A new authority; its id is its certificate's SHA-256."""
        from components.key_material import new_authority

        outputs = new_authority(props["common_name"])
        return CreateResult(outputs["ca_sha256"], outputs)


class ServerCertificateProvider(ResourceProvider):
    """Issues the server certificate, and issues it anew where what matters changed."""

    serialize_as_secret_always = False

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Adds the reason; carries it over where nothing that matters changed."""
        inputs = {key: news[key] for key in (*_MATTERS, "ca_pem", "ca_key_sealed")}
        return CheckResult(inputs | {"reason": reason(olds, news)}, [])

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Changed where something that matters is."""
        return DiffResult(changes=_what_matters(olds) != _what_matters(news))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """The first certificate."""
        return CreateResult("server-certificate", _issued(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """A new key and certificate in place of the old, by the same authority unless that changed."""
        return UpdateResult(_issued(news))


def reason(olds: Mapping[str, Any], news: Mapping[str, Any]) -> str:
    """Why the certificate is (re)issued, from the inputs last applied and the new ones; the old reason if unchanged."""
    if not olds.get("names"):
        return "first issue"
    old, new = _what_matters(olds), _what_matters(news)
    parts = [f"SAN added: {name}" for name in new["names"] if name not in old["names"]]
    parts += [f"SAN removed: {name}" for name in old["names"] if name not in new["names"]]
    for key, label in (("key_type", "key type"), ("days", "days"), ("generation", "CERTIFICATE_GENERATION")):
        if old[key] != new[key]:
            following = "known at up" if new[key] == UNKNOWN else new[key]
            parts.append(f"{label} {old[key]} → {following}")
    if old["ca_sha256"] != new["ca_sha256"]:
        parts.append("the CA was replaced")
    return ", ".join(parts) or str(olds.get("reason", ""))


def _what_matters(props: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that count, comparable: the engine turns whole numbers into floats, and config gives them as text."""
    return {
        "names": list(props.get("names") or []),
        "key_type": props.get("key_type"),
        "days": _whole(props.get("days")),
        "generation": _whole(props.get("generation")),
        "ca_sha256": props.get("ca_sha256"),
    }


def _whole(value: Any) -> Any:
    """A whole number however it is written; anything else (such as the engine's mark for unknown) as it is."""
    try:
        return int(float(value))
    except (TypeError, ValueError):
        return value


def _issued(props: dict[str, Any]) -> dict[str, Any]:
    from components.key_material import issue

    issued = issue(
        names=tuple(props["names"]),
        key_type=props["key_type"],
        days=int(_whole(props["days"])),
        ca_pem=props["ca_pem"],
        ca_key_sealed=props["ca_key_sealed"],
    )
    return {key: props[key] for key in (*_MATTERS, "reason")} | issued


class Authority(Resource, module="tls", name="Authority"):
    """The CA: ECDSA P-256, ten years. Its key is sealed."""

    ca_pem: pulumi.Output[str]
    ca_sha256: pulumi.Output[str]
    not_after: pulumi.Output[str]
    key_sealed: pulumi.Output[str]

    def __init__(self, name: str, *, common_name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        outputs = dict.fromkeys(("ca_pem", "ca_sha256", "not_after", "key_sealed"))
        super().__init__(AuthorityProvider(), name, {"common_name": common_name, **outputs}, _key_is_secret(opts))


class ServerCertificate(Resource, module="tls", name="ServerCertificate"):
    """The certificate that Postgres, PgBouncer and Redis serve. Its key is sealed."""

    certificate_pem: pulumi.Output[str]
    certificate_sha256: pulumi.Output[str]
    not_after: pulumi.Output[str]
    names: pulumi.Output[list[str]]
    reason: pulumi.Output[str]
    key_sealed: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        authority: Authority,
        request: CertificateRequest,
        generation: pulumi.Input[int | str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        outputs = dict.fromkeys(("certificate_pem", "certificate_sha256", "not_after", "reason", "key_sealed"))
        inputs = {
            "names": list(request.names),
            "key_type": request.key_type,
            "days": request.days,
            "generation": generation,
            "ca_pem": authority.ca_pem,
            "ca_sha256": authority.ca_sha256,
            "ca_key_sealed": authority.key_sealed,
        }
        super().__init__(ServerCertificateProvider(), name, {**outputs, **inputs}, _key_is_secret(opts))


def _key_is_secret(opts: pulumi.ResourceOptions | None) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=["key_sealed"]))


class Certificates(pulumi.ComponentResource):
    """The authority and the server certificate of one environment. It exists from CERTIFICATE_GENERATION 1 on.

    `generation` comes from the ledger's outputs, so that nothing is issued before the ledger has accepted the move.
    `protect` keeps the authority from being deleted, which also blocks the way back to generation 0.
    """

    ca_pem: pulumi.Output[str]
    ca_sha256: pulumi.Output[str]
    """SHA-256 of the CA's DER, in lower-case hex."""
    certificate_pem: pulumi.Output[str]
    certificate_sha256: pulumi.Output[str]
    """SHA-256 of the server certificate's DER, in lower-case hex."""
    key_sealed: pulumi.Output[str]
    """The server's private key, sealed for its certificate (`components.key_material`); secret."""
    not_after: pulumi.Output[str]
    """When the server certificate expires: ISO 8601, UTC."""
    names: pulumi.Output[list[str]]
    reason: pulumi.Output[str]
    """Why it was issued."""

    def __init__(
        self,
        name: str,
        request: CertificateRequest,
        *,
        generation: pulumi.Input[int | str],
        common_name: str | None = None,
        protect: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("internal-tls:index:Certificates", name, None, opts)
        authority = Authority(
            f"{name}.authority",
            common_name=common_name or f"{pulumi.get_project()} {pulumi.get_stack()} CA",
            opts=pulumi.ResourceOptions(parent=self, protect=protect),
        )
        server = ServerCertificate(
            f"{name}.server",
            authority=authority,
            request=request,
            generation=generation,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.ca_pem = authority.ca_pem
        self.ca_sha256 = authority.ca_sha256
        self.certificate_pem = server.certificate_pem
        self.certificate_sha256 = server.certificate_sha256
        self.key_sealed = server.key_sealed
        self.not_after = server.not_after
        self.names = server.names
        self.reason = server.reason
        self.register_outputs(
            {
                "ca_sha256": self.ca_sha256,
                "certificate_sha256": self.certificate_sha256,
                "not_after": self.not_after,
                "names": self.names,
                "reason": self.reason,
            }
        )
