namespace LoraNet.Tokenizers;

/// <summary>
/// The printable character that stands for each byte in byte-level vocabularies (GPT-2): bytes that are printable in Latin-1
/// stand for themselves, the others take the code points from U+0100 on, in order.
/// </summary>
internal static class ByteAlphabet
{
    private static readonly char[] s_chars = BuildChars();
    private static readonly short[] s_bytes = BuildBytes();

    public static char CharOf(byte b) => s_chars[b];

    /// <summary>The byte that a character stands for, or -1.</summary>
    public static int ByteOf(char c) => c < s_bytes.Length ? s_bytes[c] : -1;

    private static char[] BuildChars()
    {
        var chars = new char[256];
        int extra = 0x100;
        for (int b = 0; b < 256; b++)
        {
            bool printable = b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or >= 0xAE;
            chars[b] = printable ? (char)b : (char)extra++;
        }
        return chars;
    }

    private static short[] BuildBytes()
    {
        var bytes = new short[0x100 + 68];
        Array.Fill(bytes, (short)-1);
        for (int b = 0; b < 256; b++) bytes[s_chars[b]] = (short)b;
        return bytes;
    }
}
