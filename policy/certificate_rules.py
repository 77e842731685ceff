"""`certificates`: what is asked for before it is issued, and what is there wherever a preview knows it.

`cryptography` is imported only where a certificate is there to be checked. What is issued for the first time is known
at `up` only: the provider checks it before it returns it (`components.key_material.issue`), each host's preflight
before it serves it; the notices say so.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from policy.inputs import SECRET_VERSION, SERVER_CERTIFICATE, UNKNOWN, Resource, is_unknown, texts
from policy.key_material import has_private_key
from policy.seen import Seen
from rollout.render import CA_SECRET, CERTIFICATE_SECRET
from rollout.steps import GENERATION

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*")


def certificates(resource: Resource, seen: Seen, *, now: datetime, minimum_days: int = 14) -> list[str]:
    """Why a certificate may not be issued, or not be kept. `now` is aware; `minimum_days` are to be left."""
    if resource.kind == SERVER_CERTIFICATE:
        return [*_request(resource, seen, now=now, minimum_days=minimum_days)]
    if resource.kind == SECRET_VERSION:
        return [*_stored(resource, seen, now=now, minimum_days=minimum_days)]
    return []


def _request(resource: Resource, seen: Seen, *, now: datetime, minimum_days: int) -> Iterator[str]:
    from pki.request import CertificateRequest, RequestError

    inputs = resource.inputs
    if seen.record is None:
        yield f"{resource.name}: no accepted ledger was seen before it; issue nothing that a ledger did not accept"
        return
    if not seen.issued:
        yield f"{resource.name}: {GENERATION} is 0 in the ledger, which issues nothing; {_RAISE} first"
    asked = {key: inputs.get(key) for key in ("names", "key_type", "days", "generation", "reason")}
    if is_unknown(list(asked.values())):
        yield f"{resource.name}: what is asked of the certificate is not known; take it from config"
        return
    if any(has_private_key(text) for _, text in texts(asked)):
        yield f"{resource.name}: what is asked of the certificate holds a private key; take it from config"
        return
    try:
        request = CertificateRequest(
            names=tuple(asked["names"] or ()), key_type=str(asked["key_type"]), days=_whole(asked["days"])
        )
    except RequestError as error:
        yield from (f"certificate.{key}: {text}" for key, text in error.problems)
        return
    declared = seen.record.attempted
    if (request.digest(), str(_whole(asked["generation"]))) != (
        declared.certificate.request,
        declared.settings[GENERATION],
    ):
        yield f"{resource.name}: what is issued is not what the ledger accepted; use components.certificates unchanged"
    yield from _uncovered(request.names, declared.site.dialed_names)
    if request.days < minimum_days:
        yield (
            f"certificate.days is {request.days}, and {minimum_days} days must be left always; ask for more (397), "
            "a certificate is never renewed because time passes"
        )
    ca_pem = inputs.get("ca_pem")
    # A CA that is made now is known at `up` only; after the first issue it is known always.
    made_anew = ca_pem is UNKNOWN and seen.record.confirmed.settings[GENERATION] != "0"
    if made_anew or "the CA was replaced" in str(asked["reason"]):
        yield (
            "the CA was replaced, and hosts trust the one before: every verifying client would refuse the new "
            "certificate; keep the authority (no --replace, no `pulumi state delete` of it), and where its state is "
            "lost, `pulumi stack import` the last good checkpoint"
        )
    if isinstance(ca_pem, str):
        seen.ca_pem, seen.ca_sha256 = ca_pem, fingerprint(ca_pem)
        if seen.issuing:
            yield from _inside_authority(ca_pem, request.days, now)
    else:
        seen.notice(
            "the CA is made at `up`: key strength, lifetimes, chain and names of what it issues are checked there by "
            "the provider before anything is stored, and by every host's preflight"
        )


_RAISE = f"raise {GENERATION}"


def _uncovered(names: tuple[str, ...], dialled: tuple[str, ...]) -> Iterator[str]:
    from pki.names import NotAName, covers, normalise

    for name in dialled:
        try:
            wanted = normalise(name)
        except NotAName:
            wanted = ""
        if not any(covers(san, wanted) for san in names):
            yield (
                f"clients dial {name}, and no name of the certificate covers it ({', '.join(names)}); add it to "
                "certificate.names"
            )


def _inside_authority(ca_pem: str, days: int, now: datetime) -> Iterator[str]:
    from pki.inspection import MalformedCertificate, inspect

    try:
        ends = inspect(ca_pem).not_after
    except MalformedCertificate:
        yield "the CA certificate in the state is no certificate; `pulumi stack import` the last good checkpoint"
        return
    if now + timedelta(days=days) >= ends:
        yield f"certificate.days={days}: it would not end before its CA ({ends.isoformat()}); ask for fewer days"


def _stored(resource: Resource, seen: Seen, *, now: datetime, minimum_days: int) -> Iterator[str]:
    """What Secrets Manager is given: the CA (remembered) or the server certificate (checked with it)."""
    value = resource.inputs.get("secretString")
    if value is UNKNOWN:
        return  # `secrets` judges whether that is honest; what is issued is checked by the provider
    pem = decoded(value)
    if pem is None:
        return  # `secrets` says so
    if CA_SECRET in resource.name and seen.ca_sha256 and fingerprint(pem) != seen.ca_sha256:
        yield f"{resource.name}: it is not the CA that issues; use components.secrets unchanged"
    if CERTIFICATE_SECRET not in resource.name:
        return
    if not seen.ca_pem or seen.record is None:
        yield f"{resource.name}: the CA and the ledger were not seen before it, so it can't be checked against them"
        return
    seen.certificate_sha256 = fingerprint(pem)
    dialled = seen.record.attempted.site.dialed_names
    yield from _served(pem, seen, dialled=dialled, now=now, minimum_days=minimum_days)


def _served(pem: str, seen: Seen, *, dialled: tuple[str, ...], now: datetime, minimum_days: int) -> Iterator[str]:
    """The way back is never blocked by a certificate: what is wrong with it is a notice then."""
    from pki.checks import Expired, problems
    from pki.inspection import MalformedCertificate, inspect

    found = problems(ca_pem=seen.ca_pem, certificate_pem=pem, key_pem=None, dialled=dialled, now=now)
    sentences = [str(problem) for problem in found]
    if not any(isinstance(problem, Expired) for problem in found):
        try:
            left = inspect(pem).not_after - now
        except MalformedCertificate:
            left = timedelta(days=minimum_days)  # said already
        if left < timedelta(days=minimum_days):
            sentences.append(
                f"the server certificate has {left.days} days left, {minimum_days} are wanted; allowed now: reissue it "
                f"({_RAISE} by one, in a deploy of its own), or go back"
            )
    for sentence in sentences:
        if seen.going_back:
            seen.notice(sentence)
        else:
            yield sentence


def decoded(value: object) -> str | None:
    """The PEM of a secret's value, which is base64 of certificates and of nothing else; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        pem = base64.b64decode(value, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return pem if re.fullmatch(f"(?:{_PEM.pattern})+", pem) else None


def fingerprint(pem: str) -> str:
    """The SHA-256 of the first certificate's DER, lower-case hex; "" where there is none."""
    match = _PEM.search(pem)
    try:
        return hashlib.sha256(base64.b64decode("".join(match[1].split()), validate=True)).hexdigest() if match else ""
    except binascii.Error:
        return ""


def _whole(value: object) -> int:
    """The engine turns whole numbers into floats, and config gives them as text; 0 for anything else."""
    try:
        return int(float(str(value)))
    except ValueError:
        return 0
