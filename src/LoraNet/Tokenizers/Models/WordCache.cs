using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace LoraNet.Tokenizers;

/// <summary>
/// Remembers the tokens of recently seen words. Fixed size and lock-free: a slot holds an immutable entry, readers take
/// whatever is there, writers replace it, so a race can only cost a recomputation.
/// </summary>
internal sealed class WordCache
{
    /// <summary>Longer words are not kept: they seldom come back, and this bounds the memory.</summary>
    public const int MaxWordLength = 48;

    private const int Slots = 1 << 16;
    private Entry?[]? _slots; // made when first needed: many tokenizers are loaded to look something up

    public sealed class Entry(uint hash, char[] word, int[] ids, byte[] lengths)
    {
        public readonly uint Hash = hash;
        public readonly char[] Word = word;
        public readonly int[] Ids = ids;

        /// <summary>UTF-8 bytes of the word that each id covers.</summary>
        public readonly byte[] Lengths = lengths;
    }

    public Entry? Find(ReadOnlySpan<char> word, uint hash)
    {
        Entry?[]? slots = _slots;
        if (slots is null) return null;
        int i = (int)(hash & (Slots - 2));
        Entry? e = Volatile.Read(ref slots[i]);
        if (e is not null && e.Hash == hash && word.SequenceEqual(e.Word)) return e;
        e = Volatile.Read(ref slots[i + 1]);
        return e is not null && e.Hash == hash && word.SequenceEqual(e.Word) ? e : null;
    }

    public void Store(ReadOnlySpan<char> word, uint hash, BpeWord tokens)
    {
        ReadOnlySpan<int> lengths = tokens.Lengths;
        byte[] bytes = new byte[lengths.Length];
        for (int i = 0; i < bytes.Length; i++) bytes[i] = (byte)lengths[i];
        var entry = new Entry(hash, word.ToArray(), tokens.Ids.ToArray(), bytes);
        // Two places a word: the first is kept while the second turns over, so frequent words that came early stay.
        Entry?[] slots = _slots ?? Interlocked.CompareExchange(ref _slots, new Entry?[Slots], null) ?? _slots;
        int at = (int)(hash & (Slots - 2));
        if (Volatile.Read(ref slots[at]) is not null) at++;
        Volatile.Write(ref slots[at], entry);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Hash(ReadOnlySpan<char> word)
    {
        ulong h = (ulong)word.Length * 0x9E3779B97F4A7C15UL;
        ref byte p = ref Unsafe.As<char, byte>(ref MemoryMarshal.GetReference(word));
        int bytes = word.Length * 2;
        int i = 0;
        for (; i + 8 <= bytes; i += 8)
        {
            h = (h ^ Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref p, i))) * 0xFF51AFD7ED558CCDUL;
            h ^= h >> 32;
        }
        for (; i < bytes; i += 2)
        {
            h = (h ^ Unsafe.ReadUnaligned<ushort>(ref Unsafe.Add(ref p, i))) * 0xFF51AFD7ED558CCDUL;
            h ^= h >> 32;
        }
        return (uint)(h ^ (h >> 29));
    }
}
