"""Which tokens are believed, and whose rights they carry. Every row goes through `Identity.caller`, as in the service."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import replace
from functools import partial

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from jwt.algorithms import ECAlgorithm

from api.tokens.auth import LEEWAY_S, MAX_TOKEN_BYTES, Identity
from api.tokens.jwks import COOL_DOWN_S, MAX_AGE_S, HttpKeys
from api.tokens.published import TIMEOUT_S
from rag.access import principals
from rag.errors import NotAuthenticated, Unavailable
from tests import library
from tests.library import AUDIENCE, ISSUER, KID, REALM, TENANT, issuer, jwk, segment, signing_key

NOW = int(time.time())  # the clock of issuer and service here, however late in a run a test comes
claims, token = partial(library.claims, NOW), partial(library.token, NOW)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
USER = principals.user(REALM, "ann")


def caller(text: str, *, keys=None, now: float = NOW):
    return Identity([issuer(keys)], clock=lambda: now).caller(text)


def refused(text: str, **options) -> bool:
    try:
        caller(text, **options)
    except NotAuthenticated:
        return True
    return False


def signed(header: dict, payload: object = None, key=None, algorithm: str = "RS256") -> str:
    """A token whose header and payload are written out by hand, correctly signed."""
    content = payload if isinstance(payload, bytes) else json.dumps(payload or claims()).encode()
    return jwt.PyJWS().encode(content, key or signing_key(), algorithm, headers=header)


def by_hand(header: object, payload: object, signature: bytes = b"") -> str:
    return f"{segment(header)}.{segment(payload)}.{segment(signature) if signature else ''}"


def public_forms() -> dict[str, bytes]:
    public = signing_key().public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {
        "pem": pem,
        "pem_crlf": pem.replace(b"\n", b"\r\n"),
        "pem_spaces": pem + b"  \n\n",
        "der": public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        "jwk": json.dumps(jwk(signing_key())).encode(),
        "jwks": json.dumps({"keys": [jwk(signing_key())]}).encode(),
    }


def hmac_signed(secret: bytes) -> str:
    message = f"{segment({'alg': 'HS256', 'typ': 'JWT', 'kid': KID})}.{segment(claims())}"
    return f"{message}.{segment(hmac.new(secret, message.encode(), hashlib.sha256).digest())}"


def test_a_token_in_order_stands_for_its_subject_in_the_issuers_tenant() -> None:
    who = caller(token())
    assert (who.tenant, who.subject, who.principals) == (TENANT, USER, {USER})


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "NONE", ""])
def test_tv_01_unsigned_tokens_are_refused(algorithm) -> None:
    header = {"alg": algorithm, "typ": "JWT", "kid": KID}
    assert refused(by_hand(header, claims()))
    assert refused(by_hand(header, claims(), b"x" * 256))


@pytest.mark.parametrize("form", sorted(public_forms()))
def test_tv_02_the_public_key_is_no_hmac_secret_in_any_encoding(form) -> None:
    assert refused(hmac_signed(public_forms()[form]))


@pytest.mark.parametrize("algorithm", ["PS256", "RS512", "RS384", "PS512"])
def test_tv_03_the_algorithm_is_bound_to_the_key(algorithm) -> None:
    assert refused(signed({"kid": KID}, algorithm=algorithm))
    lying = signed({"kid": KID}, algorithm=algorithm).split(".")
    lying[0] = segment({"alg": "RS256", "typ": "JWT", "kid": KID})
    assert refused(".".join(lying))


@pytest.mark.parametrize(
    ("algorithm", "published"),
    [
        ("PS256", {"alg": "PS256"}),
        ("RS256", {"alg": "RS256"}),
        ("RS256", {"alg": ...}),
    ],
)
def test_tv_03_each_accepted_algorithm_works_with_a_key_of_its_own(algorithm, published) -> None:
    key = {name: value for name, value in {**jwk(signing_key()), **published}.items() if value is not ...}
    assert caller(signed({"kid": KID}, algorithm=algorithm), keys={KID: key}).subject == USER


def test_tv_03_an_elliptic_key_verifies_es256_and_only_on_its_own_curve() -> None:
    right, wrong = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
    keys = {
        name: {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": name}
        for name, key in (("p256", right), ("p384", wrong))
    }
    assert caller(signed({"kid": "p256"}, key=right, algorithm="ES256"), keys=keys).subject == USER
    assert refused(signed({"kid": "p384"}, key=wrong, algorithm="ES384"), keys=keys)
    assert refused(signed({"kid": "p384"}, key=right, algorithm="ES256"), keys=keys)


@pytest.mark.parametrize("published", [{"use": "enc"}, {"kty": "oct", "k": ""}, {"kty": "oct", "k": "c2VjcmV0"}])
def test_tv_08_a_key_that_is_not_for_signatures_is_never_used(published) -> None:
    assert refused(token(), keys={KID: {**jwk(signing_key()), **published}})


@pytest.mark.parametrize("broken", [{"n": "!!"}, {"n": ""}, {"n": 5}, {"e": None}, {"kty": "???"}, {"n": "AQAB"}])
def test_tv_08_a_malformed_key_is_refused_without_harm_to_the_others(broken) -> None:
    keys = {"bad": {**jwk(signing_key()), **broken}, KID: jwk(signing_key())}
    assert refused(signed({"kid": "bad"}), keys=keys)
    assert caller(token(), keys=keys).subject == USER


@pytest.mark.parametrize("crit", [["b64"], ["bork"], [], "x", None])
def test_tv_04_a_critical_extension_is_refused(crit) -> None:
    assert refused(_signed_by_hand({"alg": "RS256", "typ": "JWT", "kid": KID, "crit": crit}))


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c", "x5t", "zip", "cty", "b64", "enc"])
@pytest.mark.parametrize("value", ["https://evil.example/jwks", "file:///etc/passwd", "data:,x", {"kty": "oct"}])
def test_tv_05_a_header_that_brings_its_own_key_is_refused_and_nothing_is_fetched(name, value) -> None:
    assert refused(_signed_by_hand({"alg": "RS256", "typ": "JWT", "kid": KID, name: value}))


@pytest.mark.parametrize("kid", ["../../dev/null", "' OR 1=1--", "x" * 10_000, "", ..., None, 1, ["key-1"], {}])
def test_tv_06_an_odd_key_id_is_refused(kid) -> None:
    header = {"alg": "RS256", "typ": "JWT", **({} if kid is ... else {"kid": kid})}
    assert refused(_signed_by_hand(header))


def test_tv_06_a_duplicated_key_id_is_refused() -> None:
    assert refused(_signed_by_hand(b'{"alg":"RS256","typ":"JWT","kid":"key-1","kid":"key-1"}'))


@pytest.mark.parametrize(
    "url",
    [
        ISSUER + "b",
        ISSUER[:-1],
        ISSUER + "/",
        ISSUER.upper(),
        ISSUER.replace("https", "http"),
        f" {ISSUER}",
        [ISSUER],
        1,
        None,
        ...,
    ],
)
def test_tv_12_the_issuer_is_compared_exactly(url) -> None:
    assert refused(token(iss=url))


def test_tv_13_another_realms_key_does_not_sign_for_this_one() -> None:
    elsewhere = "https://id.example/realms/other"
    other = issuer({KID: jwk(OTHER_KEY)})
    theirs = replace(other, url=elsewhere, realm="other", tenant="other")
    both = Identity([issuer(), theirs], clock=lambda: NOW)
    assert both.caller(signed({"kid": KID}, claims(iss=elsewhere), OTHER_KEY)).tenant == "other"
    with pytest.raises(NotAuthenticated):
        both.caller(signed({"kid": KID}, claims(), OTHER_KEY))
    with pytest.raises(NotAuthenticated):
        both.caller(token(iss=elsewhere))


@pytest.mark.parametrize(
    ("audience", "accepted"),
    [
        (AUDIENCE, True),
        (["account", AUDIENCE], True),
        (..., False),
        (None, False),
        ("account", False),
        (["account"], False),
        (f"{AUDIENCE}-extra", False),
        ([f"x{AUDIENCE}"], False),
        ([[AUDIENCE]], False),
        ({AUDIENCE: 1}, False),
        ([], False),
    ],
)
def test_tv_14_the_audience_must_name_us(audience, accepted) -> None:
    assert refused(token(aud=audience)) is not accepted


@pytest.mark.parametrize("client", ["evil-app", ["web"], "WEB", "", None, ...])
def test_tv_15_a_token_for_an_unknown_client_is_refused(client) -> None:
    assert refused(token(azp=client))


@pytest.mark.parametrize("kind", ["ID", "Refresh", "Logout", "RPT", "RegistrationAccessToken", "bearer", None, ...])
def test_tv_16_only_access_tokens_are_bearer_tokens(kind) -> None:
    assert refused(token(typ=kind))


@pytest.mark.parametrize("kind", ["logout+jwt", "jwt", "JOSE", None, 1, ["JWT"], ...])
def test_tv_16_the_headers_type_is_that_of_an_access_token(kind) -> None:
    assert refused(_signed_by_hand({"alg": "RS256", "kid": KID, **({} if kind is ... else {"typ": kind})}))


@pytest.mark.parametrize(
    ("times", "accepted"),
    [
        ({"exp": NOW + 1}, True),
        ({"exp": NOW - LEEWAY_S + 1}, True),
        ({"exp": NOW - LEEWAY_S}, False),
        ({"exp": NOW - 3600}, False),
        ({"exp": ...}, False),
        ({"exp": None}, False),
        ({"exp": str(NOW + 300)}, False),
        ({"exp": NOW + 0.5}, False),
        ({"exp": -1}, False),
        ({"exp": True}, False),
        ({"exp": [NOW + 300]}, False),
        ({"nbf": NOW + LEEWAY_S}, True),
        ({"nbf": NOW + 600}, False),
        ({"nbf": "soon"}, False),
        ({"iat": NOW + 600}, False),
        ({"iat": ...}, True),
    ],
)
def test_tv_17_a_token_is_valid_in_its_time_only(times, accepted) -> None:
    assert LEEWAY_S <= 30
    assert refused(token(**times)) is not accepted


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "9" * 5000])
def test_tv_17_a_time_beyond_all_numbers_is_refused(number) -> None:
    payload = json.dumps(claims(exp="@")).replace('"@"', number).encode()
    assert refused(signed({"kid": KID}, payload))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_tv_19_one_changed_character_refuses(part) -> None:
    parts = token().split(".")
    changed = parts[part]
    middle = len(changed) // 2
    parts[part] = changed[:middle] + ("A" if changed[middle] != "A" else "B") + changed[middle + 1 :]
    assert refused(".".join(parts))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text + "=",
        lambda text: text + "==",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.replace(".", " .", 1),
        lambda text: text.replace(".", "..", 1),
        lambda text: text + ".",
        lambda text: text + ".x",
        lambda text: text.replace("-", "+").replace("_", "/") + "+/",
        lambda text: text + "ü",
        lambda text: text.rsplit(".", 1)[0],
        lambda text: "",
        lambda text: "..",
    ],
)
def test_tv_19_only_canonical_base64url_in_three_parts_is_read(spoil) -> None:
    assert refused(spoil(token()))


def test_tv_19_a_signature_whose_unused_bits_differ_is_refused() -> None:
    head, _, signature = token().rpartition(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet[alphabet.index(signature[-1]) ^ 1]  # 2048 bits leave 4 bits of the last character unused
    assert base64.urlsafe_b64decode(signature + "==") == base64.urlsafe_b64decode(signature[:-1] + last + "==")
    assert refused(f"{head}.{signature[:-1]}{last}")


def test_tv_19_duplicate_claims_are_refused() -> None:
    payload = json.dumps(claims(groups=["/a"]))[:-1] + ', "groups": ["/b"]}'
    assert refused(signed({"kid": KID}, payload.encode()))


@pytest.mark.parametrize("payload", [b"[]", b'"x"', b"1", b"null", b"{", b"\xff\xfe", b"[" * 12_000])
def test_tv_20_a_payload_that_is_no_object_is_refused(payload) -> None:
    assert refused(by_hand({"alg": "RS256", "typ": "JWT", "kid": KID}, payload, b"x"))


def test_tv_20_oversized_tokens_are_refused_before_they_are_decoded() -> None:
    assert refused("a" * 16_000_000)
    assert refused(token(padding="x" * MAX_TOKEN_BYTES))


def test_tv_20_encrypted_tokens_are_not_accepted_at_all() -> None:
    assert refused(".".join(["e30"] * 5))


def test_a_key_of_less_than_2048_bits_is_not_enough() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.warns(match="key"):
        text = signed({"kid": KID}, key=weak)
    assert refused(text, keys={KID: jwk(weak)})


@pytest.mark.parametrize("subject", ["", "x" * 256, None, 1, ["ann"], ..., "a\0b", "a\ud800"])
def test_a_token_names_somebody(subject) -> None:
    assert refused(token(sub=subject))


def test_rm_06_realm_roles_and_our_clients_roles_count_and_no_other_clients() -> None:
    who = caller(
        token(
            realm_access={"roles": ["reader"]},
            resource_access={AUDIENCE: {"roles": ["reader"]}, "other": {"roles": ["reader", "admin"]}},
            groups=["/hr/leads"],
        )
    )
    assert who.principals == {
        USER,
        principals.realm_role(REALM, "reader"),
        principals.client_role(REALM, AUDIENCE, "reader"),
        principals.group(REALM, "/hr/leads"),
    }


@pytest.mark.parametrize(
    "name",
    ["*", "public", "admin", "null", "everyone", "group:x", "user:bob", " ", "a b", "a\nb", "\u202eadmin", "Admin"],
)
def test_rm_08_odd_role_names_are_opaque_and_never_collide_with_ours(name) -> None:
    who = caller(token(realm_access={"roles": [name]}))
    assert who.principals - {USER} == {f"kc:{REALM}:role:{name}"}


@pytest.mark.parametrize("name", ["sys:everyone-in-tenant", "kc:acme:group:/hr"])
def test_rm_08_the_reserved_namespaces_cannot_come_from_a_token(name) -> None:
    who = caller(token(realm_access={"roles": [name]}, sub=name))
    assert who.principals == {f"kc:{REALM}:role:{name}", f"kc:{REALM}:user:{name}"}


@pytest.mark.parametrize(
    "rights",
    [
        {"groups": "/hr"},
        {"groups": None},
        {"groups": {"0": "/hr"}},
        {"groups": [["/hr"]]},
        {"groups": [1]},
        {"groups": ["hr"]},
        {"groups": [""]},
        {"groups": ["/hr\0"]},
        {"groups": ["/hr\ud800"]},
        {"realm_access": {"roles": ["\udfff"]}},
        {"realm_access": []},
        {"realm_access": "admin"},
        {"realm_access": None},
        {"realm_access": {"roles": "admin"}},
        {"realm_access": {"roles": [None]}},
        {"realm_access": {"roles": [""]}},
        {"resource_access": []},
        {"resource_access": {AUDIENCE: []}},
        {"resource_access": {AUDIENCE: {"roles": {}}}},
    ],
)
def test_rm_09_rights_of_the_wrong_shape_are_refused(rights) -> None:
    assert refused(token(**rights))


@pytest.mark.parametrize(("claim", "mapper"), [("groups", "Group Membership"), ("realm_access", "realm roles")])
def test_rm_10_tv_23_a_token_that_does_not_speak_of_rights_is_refused_and_its_mapper_named(claim, mapper) -> None:
    with pytest.raises(NotAuthenticated, match=mapper):
        caller(token(**{claim: ...}))


@pytest.mark.parametrize("rights", [{}, {"groups": []}, {"realm_access": {}}, {"resource_access": {"other": "?"}}])
def test_rm_09_missing_rights_are_none(rights) -> None:
    assert caller(token(**rights)).principals == {USER}


def test_mt_02_the_tenant_is_the_issuers_whatever_the_token_says() -> None:
    assert caller(token(tenant="other", tid="other")).tenant == TENANT


class Provider:
    """An identity provider's JWKS address whose answers and clock a test sets."""

    def __init__(self, *keys: dict) -> None:
        self.keys, self.now, self.asked = list(keys), 0.0, 0
        self.answer = lambda: httpx.Response(200, json={"keys": self.keys})
        client = httpx.Client(transport=httpx.MockTransport(self._serve))
        self.source = HttpKeys("https://id.example/certs", client, clock=lambda: self.now)

    def _serve(self, request: httpx.Request) -> httpx.Response:
        assert request.url.host == "id.example"
        self.asked += 1
        return self.answer()


def test_keys_are_fetched_once_and_remembered() -> None:
    provider = Provider(jwk(signing_key()))
    assert [provider.source.key(KID)["kid"] for _ in range(3)] == [KID] * 3
    assert provider.asked == 1


def test_tv_09_a_new_key_is_found_with_one_more_fetch_and_the_old_one_stays_valid() -> None:
    provider = Provider(jwk(signing_key(), "old"))
    assert provider.source.key("old")
    provider.keys.append(jwk(OTHER_KEY, "new"))
    provider.now += COOL_DOWN_S
    assert provider.source.key("new")
    assert provider.source.key("old")
    assert provider.asked == 2


def test_tv_10_a_thousand_unknown_keys_cost_one_fetch_per_cool_down() -> None:
    provider = Provider(jwk(signing_key()))
    assert provider.source.key(KID)
    provider.now += COOL_DOWN_S
    assert not any(provider.source.key(f"random-{number}") for number in range(1_000))
    assert provider.asked == 2
    assert provider.source.key(KID)


def test_tv_11_a_withdrawn_key_is_refused_after_the_maximum_age_even_if_the_provider_is_down() -> None:
    provider = Provider(jwk(signing_key()))
    assert provider.source.key(KID)
    provider.answer = lambda: httpx.Response(503)
    provider.now += MAX_AGE_S
    assert provider.source.key(KID)
    provider.now += 1
    with pytest.raises(Unavailable):
        provider.source.key(KID)


def test_ft_03_keys_that_come_in_drops_are_given_up() -> None:
    provider = Provider(jwk(signing_key()))
    assert provider.source.key(KID)

    def drops():
        for _ in range(1_000):
            provider.now += TIMEOUT_S / 10
            yield b" "

    provider.answer = lambda: httpx.Response(200, content=drops())
    provider.now += COOL_DOWN_S
    before = provider.now
    assert provider.source.key("unknown") is None
    assert provider.now - before <= 2 * TIMEOUT_S
    assert provider.source.key(KID)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: httpx.Response(302, headers={"Location": "https://evil.example/jwks"}),
        lambda: httpx.Response(500),
        lambda: httpx.Response(200, text="<html>"),
        lambda: httpx.Response(200, json=[]),
        lambda: httpx.Response(200, json={"keys": []}),
        lambda: httpx.Response(200, json={"keys": "none"}),
        lambda: httpx.Response(200, content=b"[" * 200_000),
        lambda: httpx.Response(200, content=b" " * 300_000),
        lambda: (_ for _ in ()).throw(httpx.ConnectTimeout("slow")),
    ],
    ids=["redirect", "error", "html", "list", "empty", "text", "deep", "large", "timeout"],
)
def test_tv_07_a_wrong_answer_keeps_the_old_keys_and_is_not_believed(answer) -> None:
    provider = Provider(jwk(signing_key()))
    assert provider.source.key(KID)
    provider.answer = answer
    provider.now += COOL_DOWN_S
    assert provider.source.key("unknown") is None
    assert provider.source.key(KID)


def test_ft_02_before_the_first_fetch_a_provider_that_is_down_is_unavailable_and_not_a_refusal() -> None:
    provider = Provider()
    provider.answer = lambda: httpx.Response(503)
    with pytest.raises(Unavailable):
        provider.source.key(KID)


def test_tv_08_entries_that_are_no_keys_do_not_hide_the_good_one() -> None:
    provider = Provider({"kid": 5}, {}, {"kty": "oct", "k": "", "kid": "empty"}, jwk(signing_key()))
    provider.keys.insert(0, "not a key")
    assert provider.source.key(KID)


def _signed_by_hand(header: object) -> str:
    """A token with exactly this header and a valid RS256 signature over it."""
    message = f"{segment(header)}.{segment(claims())}"
    return f"{message}.{segment(signing_key().sign(message.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def test_the_hand_made_signature_of_these_tests_is_a_valid_one() -> None:
    assert caller(_signed_by_hand({"alg": "RS256", "typ": "JWT", "kid": KID})).subject == USER
