"""Writes UnicodeNormalization.bin: what UnicodeNormalizer needs of the Unicode Character Database, from Python's own copy.

Layout (then deflated): all numbers are unsigned LEB128.
  count, then per code point with a combining class: step from the previous code point, class
  count, then per decomposable code point: step, flags (1: canonical, 2: compatibility differs, 4: composable), then for
  flag 1 length and code points of NFD, for flag 2 length and code points of NFKD, for flag 4 the pair it composes from
Hangul syllables are computed, not listed.
"""
import sys
import unicodedata as ud
import zlib

out = bytearray()


def put(n):
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)


points = [c for c in range(0x110000) if not 0xAC00 <= c <= 0xD7A3 and not 0xD800 <= c <= 0xDFFF]
classes = [(c, ud.combining(chr(c))) for c in points if ud.combining(chr(c))]
put(len(classes))
last = 0
for c, ccc in classes:
    put(c - last)
    put(ccc)
    last = c

rows = []
for c in points:
    ch = chr(c)
    nfd, nfkd = ud.normalize("NFD", ch), ud.normalize("NFKD", ch)
    if nfkd == ch:
        continue
    flags = (1 if nfd != ch else 0) | (2 if nfkd != nfd else 0)
    pair = [int(x, 16) for x in ud.decomposition(ch).split()] if nfd != ch else []
    if len(pair) == 2 and ud.normalize("NFC", ch) == ch:
        flags |= 4
    rows.append((c, flags, nfd, nfkd, pair))
put(len(rows))
last = 0
for c, flags, nfd, nfkd, pair in rows:
    put(c - last)
    put(flags)
    last = c
    for flag, s in ((1, nfd), (2, nfkd)):
        if flags & flag:
            put(len(s))
            for x in s:
                put(ord(x))
    if flags & 4:
        put(pair[0])
        put(pair[1])

packer = zlib.compressobj(9, zlib.DEFLATED, -15)
with open(sys.argv[1], "wb") as f:
    f.write(packer.compress(bytes(out)) + packer.flush())
print(f"Unicode {ud.unidata_version}: {len(classes)} classes, {len(rows)} decompositions, {len(out)} bytes")
