"""Recovery without Touchseal: a keyring's manifest, stock age with age-plugin-yubikey, and the documented derivation.

    recovery.py active MANIFEST IDENTITY_FILE PIN_FD   the Active master, in hexadecimal; one touch of the YubiKey
    recovery.py share MANIFEST IDENTITY_FILE PIN_FD HOLDER   with a quorum: this holder's share; one touch of their YubiKey
    recovery.py combine MANIFEST HOLDER=SHARE ...      with a quorum: the Active master, of as many shares as it takes
    recovery.py previous MANIFEST MASTER NUMBER        the master of the generation before, opened by the newer one
    recovery.py identity MANIFEST MASTER NAMESPACE     the namespace's age identity (SOPS_AGE_KEY)

Standard library only. Formats: crds/keyring.md.
"""
import base64, hashlib, hmac, json, os, pty, signal, subprocess, sys, tempfile

CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def hkdf(master, salt, info):
    key = hmac.new(salt, master, hashlib.sha256).digest()
    return hmac.new(key, info + b"\x01", hashlib.sha256).digest()  # 32 bytes are one block (RFC 5869)


def bech32(prefix, data):  # BIP 173
    bits = "".join(f"{byte:08b}" for byte in data)
    words = [int(bits[at : at + 5].ljust(5, "0"), 2) for at in range(0, len(bits), 5)]
    check, value = 1, [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + words + [0] * 6
    for word in value:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ word
        for bit, generator in enumerate([0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]):
            check ^= generator if top >> bit & 1 else 0
    words += [(check ^ 1) >> 5 * (5 - at) & 31 for at in range(6)]
    return prefix + "1" + "".join(CHARSET[word] for word in words)


def age_identity(manifest, master, label):
    secret = hkdf(master, bytes.fromhex(manifest["id"]), b"touchseal/v1/" + label.encode())
    return bech32("age-secret-key-", secret).upper()


def times(a, b):  # in GF(2^8) with the polynomial of AES
    product = 0
    for bit in range(8):
        product ^= a << bit if b >> bit & 1 else 0
    for bit in range(14, 7, -1):
        product ^= 0x11B << bit - 8 if product >> bit & 1 else 0
    return product


def over(a, b):
    return next(q for q in range(256) if times(q, b) == a)


def combine(points):  # {index: share}: the value at 0 of the polynomial through them, byte by byte
    master = bytearray(32)
    for x, share in points.items():
        weight = 1
        for other in points:
            weight = weight if other == x else times(weight, over(other, other ^ x))
        master = bytearray(m ^ times(weight, y) for m, y in zip(master, share))
    return bytes(master)


def commitment(manifest, index, share):
    part = lambda text: len(text).to_bytes(4, "big") + text
    active = manifest["generations"][-1]["number"]
    numbers = [active.to_bytes(4, "big"), manifest["revision"].to_bytes(8, "big"), bytes([index])]
    text = b"".join(map(part, [bytes.fromhex(manifest["id"]), *numbers, share]))
    return base64.b64encode(hashlib.sha256(b"touchseal/v1/share" + text).digest()).decode()


def in_a_terminal(command, pin):
    """age asks for the PIN on a terminal and nowhere else."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(command[0], command)
    said, asked = b"", False
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            part = b""
        if not part:
            break
        said += part
        if b"PIN" in said and not asked:
            os.write(terminal, pin + b"\n")
            asked = True
    if os.waitpid(child, 0)[1] != 0 or not asked:
        sys.exit("age: " + said.decode(errors="replace"))


def main(what, manifest_file, *rest):
    signal.alarm(60)  # an age that waits for ever ends with this process
    manifest = json.load(open(manifest_file))
    if what == "identity":
        print(age_identity(manifest, bytes.fromhex(rest[0]), "namespace/" + rest[1]))
        return
    entries = {entry["holder"]: entry for entry in manifest["generations"][-1].get("shares", [])}
    if what == "combine":
        shares = dict(word.split("=") for word in rest)
        shares = {entries[holder]["index"]: bytes.fromhex(share) for holder, share in shares.items()}
        for entry in entries.values():
            index = entry["index"]
            if index in shares and commitment(manifest, index, shares[index]) != entry["commitment"]:
                sys.exit("the share of " + entry["holder"] + " is wrong")
        if len(shares) < manifest["quorum"]:
            sys.exit(f"{len(shares)} shares, and it takes {manifest['quorum']}")
        print(combine(shares).hex())
        return
    with tempfile.TemporaryDirectory() as folder:
        sealed, opened = os.path.join(folder, "sealed.age"), os.path.join(folder, "opened")
        if what in ("active", "share"):
            wrapped = entries[rest[2]]["wrapped"] if what == "share" else manifest["generations"][-1]["wrapped"]
            open(sealed, "w").write(wrapped)
            pin = os.read(int(rest[1]), 64).strip()
            in_a_terminal(["age", "--decrypt", "-i", rest[0], "-o", opened, sealed], pin)
        else:
            number = int(rest[1])
            wrapped = next(g["wrapped"] for g in manifest["generations"] if g["number"] == number)
            open(sealed, "w").write(wrapped)
            key = age_identity(manifest, bytes.fromhex(rest[0]), "previous")
            command = ["age", "--decrypt", "-i", "-", "-o", opened, sealed]
            subprocess.run(command, input=key.encode(), check=True)
        print(open(opened, "rb").read().hex())


main(*sys.argv[1:])
