"""What may be a shared secret."""

import pytest

from servicekit.secrets import MIN_SECRET_BYTES, check_secret


def test_a_secret_has_the_length_of_the_hash() -> None:
    assert check_secret(bytes(MIN_SECRET_BYTES)) == bytes(MIN_SECRET_BYTES)
    with pytest.raises(ValueError, match=f"at least {MIN_SECRET_BYTES} bytes long"):
        check_secret(bytes(MIN_SECRET_BYTES - 1))


@pytest.mark.parametrize(
    "key",
    [b"-----BEGIN PUBLIC KEY-----", b"\n-----BEGIN RSA PUBLIC KEY-----", b"ssh-ed25519 ", b"ecdsa-sha2-nistp256 "],
)
def test_a_public_key_is_no_secret(key: bytes) -> None:
    with pytest.raises(ValueError, match="a public key is no secret"):
        check_secret(key + b"A" * MIN_SECRET_BYTES)
