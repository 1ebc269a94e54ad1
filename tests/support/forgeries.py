"""Tokens that must open nothing, for whoever tests a door."""

from datetime import datetime
from typing import Any

import jwt

from tests.support.issuer import Issuer, ec_key, encoded, hmac_token, jwk, pem, rsa_key

SECRET = "a secret of at least thirty-two bytes"
STRANGE_SECRET = "a secret that this server never had"
ISSUER = Issuer()
STRANGER = Issuer({"r1": rsa_key("stranger"), "e1": ec_key("stranger")})


def claims(now: datetime, subject: str = "anna", **more: Any) -> dict[str, Any]:
    """Return the claims of a token that is good for an hour."""
    return {"sub": subject, "aud": "chatbot", "exp": int(now.timestamp()) + 3600, **more}


def forgeries(now: datetime) -> dict[str, str]:
    """Return what a server that trusts `SECRET` and `ISSUER` must refuse, each by what is wrong with it."""
    good = claims(now)
    seconds = int(now.timestamp())
    signed_by_issuer = ISSUER.sign(good)
    return {
        "expired": jwt.encode(claims(now, exp=seconds - 60), SECRET),
        "expired, of the issuer": ISSUER.sign(claims(now, exp=seconds - 60)),
        "not valid yet": jwt.encode(claims(now, nbf=seconds + 60), SECRET),
        "for another server": jwt.encode(claims(now, aud="billing"), SECRET),
        "for another server, of the issuer": ISSUER.sign(claims(now, aud="billing")),
        "about nobody": jwt.encode({"aud": "chatbot", "exp": seconds + 60}, SECRET),
        "another secret": jwt.encode(good, STRANGE_SECRET),
        "alg none": f"{encoded({'alg': 'none'})}.{encoded(good)}.",
        "alg None": f"{encoded({'alg': 'NonE', 'typ': 'JWT'})}.{encoded(good)}.",
        "the signature left out": signed_by_issuer.rpartition(".")[0] + ".",
        "other claims under a signature": ".".join(
            [signed_by_issuer.split(".")[0], encoded(claims(now, "ben")), signed_by_issuer.split(".")[2]]
        ),
        "the public key as a secret": hmac_token(pem(rsa_key("r1")), {"alg": "HS256", "kid": "r1"}, good),
        "the public key as a secret, said to be RSA": hmac_token(
            pem(rsa_key("r1")), {"alg": "RS256", "kid": "r1"}, good
        ),
        "an unknown key": ISSUER.sign(good, "r1", kid="r2"),
        "a key named by a path": hmac_token(b"", {"alg": "HS256", "kid": "../../../dev/null"}, good),
        "a key of the issuer named by a path": ISSUER.sign(good, "r1", kid="../r1"),
        "a key that it brings along": STRANGER.sign(good, "r1", jwk=jwk(rsa_key("stranger"))),
        "a key from an address that it names": STRANGER.sign(good, "r1", jku="http://127.0.0.1:1/keys"),
        "a stranger's key of the same name": STRANGER.sign(good, "e1"),
        "an extension that must be understood": ISSUER.sign(good, "r1", crit=["b64"]),
    }
