"""Public addresses and test vectors, and how an address is spelt whose checksum holds although it is wrong."""

from __future__ import annotations

import hashlib

from base58_bech32 import base58 as other_base58
from eth_utils import keccak

BTC_GOOD = (
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
    "1LqBGSKuX5yYUonjxT5qGfpUsXKYYWeabA",
    "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
    "3P14159f73E4gFr7JterCCQh9QjiTjiZrG",
    "37VucYSaXLCAsxYyAPfbSi9eh4iEcbShgf",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3",
    "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
    "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
    "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh",
)
ETH_GOOD = (
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xFA22515E43658ce56A7682B801e9B5456f511420",
    "0xAee144cB8098B17BCD98D82802fDf32E8ca518cF",
    "0x6A9F90A1241E1960AD1A0cCb2400C9d235eA0846",
)
"""The last three were made for another chain of the same format: the text cannot tell."""

OTHER_COINS = (
    "LUWPbpM43E2p7ZSh8cyTBEkvpHmr3cB8Ez",
    "M7wtsL7wSHDBJVMWWhtQfTMSYYkyooAAXM",
    "ltc1qjmxnz78nmc8nq77wuxh25n2es7rzm5c2rkk4wh",
    "DBus3bamQjgJULBJtYXpEzDWQRwF5iwxgC",
    "DAcDAtJRztxBHyA6D6h8du1HguyTR43Mas",
    "9xzLEaWbi3eVzRzv6YdGcXbXQMHydntSq7",
    "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
    "qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
    "bitcoincash:qr95sy3j9xwd2ap32xkykttr4cvcu7as4y0qverfuy",
    "bitcoincash:ppm2qsznhks23z7629mms6s4cwef74vcwvn0h829pq",
    "44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A",
    "888tNkZrPN6JsEgekjMnABU4TBzc2Dt29EPAvkRxbANsAnjyPbb3iQ1YBRk1UXcdRsiKc9dhwMVgN5S9cQUiyoogDavup3H",
    "4JFvtPzpASJN9Tyw7XsCakJ4dBxBpaD3wa9Az6V5ZwAK99kYQzcgckSNVv5iZhMp8o37fhNzY7eM2ERGoTWr4B283gGGGVpc6qJU3vLSTp",
    "RKxTdfmtxtfLDKZBgx6SvNkBtNu9jRYnLh",
    "RSzjFTHzHpRXckRzL3hYkREu6Cv3eGSxzn",
    "rEhmaoXxKDsTS9JiHqgBenLUvkv7oERtfi",
)
BTC_BAD = (
    "1A1zP1eP5QGefi2DMPTfUL5SLmv7DivfNa",
    "3P14159f73E4gFr7JetrCCQh9QjiTjiZrG",
    "bc1qw508d6qejxtdg4y5r3zayvary0c5xw7kv8f3t4",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
    "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
    "LUWPbpM43E2p7ZSh8cyTCEkvpHmr3cB8Ez",
    "DBus3bamQjgJULBJtYXpFzDWQRwF5iwxgC",
    "bitcoincash:qpm2qsznhks23z7629ums6s4cwef74vcwvy22gdx6a",
    "44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjspDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A",
    "RKxTdfmtxtfLDKZBgx6SwNkBtNu9jRYnLh",
    "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
    "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc",
    "1",
    "1111111111111111111114oLvT2l",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfN0",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNaa",
    "11A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "bc1",
    "bc1q",
    "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
)
SEGWIT_BAD = (
    "tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
    "tb1z0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqglt7rf",
    "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh",
    "tb1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq24jc47",
    "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4",
    "BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R",
    "bc1pw5dgrnzv",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav",
    "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
    "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf",
    "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j",
    "bc1gmk9yu",
    "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
    "BC1SW50QGDZ25J",
    "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4 ",
    "BC1QW508d6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
)
"""Of the public vectors of BIP 173 and 350; the last but one group is well-formed, but nobody can spend it yet."""

GOOD = {
    "BTC": BTC_GOOD,
    "ETH": ETH_GOOD[:3],
    "ETC": ETH_GOOD[3:],
    "LTC": (
        "LUWPbpM43E2p7ZSh8cyTBEkvpHmr3cB8Ez",
        "M7wtsL7wSHDBJVMWWhtQfTMSYYkyooAAXM",
        "ltc1qjmxnz78nmc8nq77wuxh25n2es7rzm5c2rkk4wh",
        "ltc1qhdhvrwe6rgqns8fz28tee0hphr5x7ulw5exv4w",
    ),
    "DOGE": (
        "DBus3bamQjgJULBJtYXpEzDWQRwF5iwxgC",
        "DAcDAtJRztxBHyA6D6h8du1HguyTR43Mas",
        "9xzLEaWbi3eVzRzv6YdGcXbXQMHydntSq7",
    ),
    "BCH": (
        "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
        "bitcoincash:qr95sy3j9xwd2ap32xkykttr4cvcu7as4y0qverfuy",
        "bitcoincash:ppm2qsznhks23z7629mms6s4cwef74vcwvn0h829pq",
    ),
    "XMR": (
        "44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A",
        "888tNkZrPN6JsEgekjMnABU4TBzc2Dt29EPAvkRxbANsAnjyPbb3iQ1YBRk1UXcdRsiKc9dhwMVgN5S9cQUiyoogDavup3H",
        "4JFvtPzpASJN9Tyw7XsCakJ4dBxBpaD3wa9Az6V5ZwAK99kYQzcgckSNVv5iZhMp8o37fhNzY7eM2ERGoTWr4B283gGGGVpc6qJU3vLSTp",
    ),
    "RVN": (
        "RKxTdfmtxtfLDKZBgx6SvNkBtNu9jRYnLh",
        "RSzjFTHzHpRXckRzL3hYkREu6Cv3eGSxzn",
        "rEhmaoXxKDsTS9JiHqgBenLUvkv7oERtfi",
    ),
    "ZEC": (
        "t1b2ArRwLq6KbdJFzJVYPxgUVT1d9QuBzTf",
        "t1Hxw6JqWMnhDK5jRCieg5bFHM2qt7UtQvu",
        "t3Vz22vK5z2LcKEdg16Yv4FFneEL1zg9ojd",
        "t3cL9AucCajm3HXDhb5jBnJK2vapVoXsop3",
    ),
    "KAS": (
        "kaspa:qr0lr4ml9fn3chekrqmjdkergxl93l4wrk3dankcgvjq776s9wn9jkdskewva",
        "kaspa:qpauqsvk7yf9unexwmxsnmg547mhyga37csh0kj53q6xxgl24ydxjsgzthw5j",
        "kaspa:qypkgsdgzj89sy3anxlkyamuxkjv064kst76jajw0wqy022vphspf4gxj4qr5m5",
        "kaspa:prq20q4qd9ulr044cauyy9wtpeupqpjv67pn2vyc6acly7xqkrjdzmh8rj9f4",
    ),
    "ERG": (
        "9fRAWhdxEsTcdb8PhGNrZfwqa65zfkuYHAMmkQLcic1gdLSV5vA",
        "9f4QF8AD1nQ3nJahQVkMj8hFSVVzVom77b52JU7EW71Zexg6N8v",
        "8UApt8czfFVuTgQmMwtsRBZ4nfWquNiSwCWUjMg",
    ),
    "TRX": (
        "TNUC9Qb1rRpS5CbWLmNMxXBjyFoydXjWFR",
        "TLa2f6VPqDgRE67v1736s7bJ8Ray5wYjU7",
        "TMuA6YqfCeX8EhbfYEg5y7S4DqzSJireY9",
    ),
}
"""By network."""

BAD = {
    "ETH": ("0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",),
    "ETC": ("0xFa22515E43658ce56A7682B801e9B5456f511420",),
    "LTC": ("LUWPbpM43E2p7ZSh8cyTCEkvpHmr3cB8Ez", "ltc1qjmxnz78nmc8nq77wuxh25n2es7rzm5c2rkk4wx"),
    "DOGE": ("DBus3bamQjgJULBJtYXpFzDWQRwF5iwxgC",),
    "BCH": ("bitcoincash:qpm2qsznhks23z7629ums6s4cwef74vcwvy22gdx6a", "qpm2qsznhks23z7629ums6s4cwef74vcwvy22gdx6a"),
    "XMR": ("44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjspDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A",),
    "RVN": ("RKxTdfmtxtfLDKZBgx6SwNkBtNu9jRYnLh",),
    "ZEC": ("t1Rv4exT7bqhZqi2j7xz8bUHDMxwosrjADU",),
    "KAS": ("kaspa:qr35ennsep3hxfe7lnz5ee7j5jgmkjswss74as46gx",),
    "ERG": ("9g1b69CQYaJKSY9ycjYJJnQxCJL8VEPn5kiVKQKDgkrQKGPRVf9",),
    "TRX": ("TLa2f6VPqDgRE67v1736s7bJ8Rby5wYjU7",),
}
"""By network: a slip of the hand."""

TEST_NETWORKS = {
    "BTC": ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"),
    "LTC": ("QVk4MvUu7Wb7tZ1wvAeiUvdF7wxhvpyLLK", "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"),
    "DOGE": ("noBEfr9wTGgs94CdGVXGYwsQghEwBsXw4K",),
    "BCH": ("bchtest:qpm2qsznhks23z7629mms6s4cwef74vcwvqcw003ap", "bchtest:pr6m7j9njldwwzlg9v7v53unlr4jkmx6eyvwc0uz5t"),
    "RVN": ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",),
    "ZEC": ("tmJymvcUCn1ctbghvTJpXBwHiMEB8P6wxNV", "t2UNzUUx8mWBCRYPRezvA363EYXyEpHokyi"),
    "KAS": (
        "kaspatest:qrzjdw58hp75mvvx6aq58kjyg3xjk7pt0k8txpll9sxdary9npn8v3pmkukdl",
        "kaspatest:pr6mpn7hgfa99v0rf4pf0k3c83pkmrqtd8h46fn44g9vr8c6khw2u4mn2fgy3",
    ),
    "ERG": (
        "3WvsT2Gm4EpsM9Pg18PdY6XyhNNMqXDsvJTbbf6ihLvAmSb7u5RN",
        "rbcrmKEYduUvADj9Ts3dSVSG27h54pgrq5fPuwB",
        "Ms7smJwLGbUAjuWQ",
    ),
}
"""By network. Tron's test networks write their addresses as the main network does: the text cannot tell."""

_CASH_WORDS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_MONERO_CHARACTERS = {1: 2, 2: 3, 3: 5, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11}


def text_of(found: object) -> str:
    return found.decode() if isinstance(found, bytes) else str(found)


def base58check_text(payload: bytes) -> str:
    return text_of(other_base58.b58encode_check(payload))


def cash_text(prefix: str, payload: bytes) -> str:
    """Bits of the payload in fives, and the remainder of a division over a field of 32 elements."""
    bits = "".join(f"{byte:08b}" for byte in payload)
    bits += "0" * (-len(bits) % 5)
    words = [int(bits[place : place + 5], 2) for place in range(0, len(bits), 5)]
    remainder = 1
    for word in [*(ord(char) % 32 for char in prefix), 0, *words, *[0] * 8]:
        top, remainder = remainder >> 35, ((remainder % 2**35) << 5) ^ word
        remainder ^= 0x98F2BC8E61 * (top & 1) ^ 0x79B76D99E2 * (top >> 1 & 1) ^ 0xF33E5FB3C4 * (top >> 2 & 1)
        remainder ^= 0xAE2EABE2A8 * (top >> 3 & 1) ^ 0x1E4F43E470 * (top >> 4 & 1)
    checksum = f"{remainder ^ 1:040b}"
    words += [int(checksum[place : place + 5], 2) for place in range(0, 40, 5)]
    return f"{prefix}:" + "".join(_CASH_WORDS[word] for word in words)


def monero_text(payload: bytes) -> str:
    raw = payload + keccak(payload)[:4]
    blocks = [raw[start : start + 8] for start in range(0, len(raw), 8)]
    return "".join(
        text_of(other_base58.b58encode(block.lstrip(b"\0"))).rjust(_MONERO_CHARACTERS[len(block)], "1")
        for block in blocks
    )


def ergo_text(payload: bytes) -> str:
    return text_of(other_base58.b58encode(payload + hashlib.blake2b(payload, digest_size=32).digest()[:4]))
