using System.Runtime.InteropServices;
using System.Security.Cryptography;
using LoraNet.Models;

namespace LoraNet.Data.Encoders;

/// <summary>
/// Chooses rows to hold out by a keyed hash of their contents: the choice does not depend on their order, equal rows stay together,
/// and adding rows moves few others.
/// </summary>
internal static class ValidationSplit
{
    /// <summary>For each row whether it is held out. About the wished share, at least one row and never all.</summary>
    /// <exception cref="LoraNetException">There are not two different rows.</exception>
    public static bool[] Choose(IReadOnlyList<TokenRow> rows, DataOptions options, string path) => Choose(rows.Count, i => Key(rows[i], options), options, path);

    /// <summary>The same for rows of a classifier, by their tokens; labels play no part, so that a text is on one side whatever its labels.</summary>
    public static bool[] Choose(IReadOnlyList<ClassificationRow> rows, DataOptions options, string path) => Choose(rows.Count, i => Hash(rows[i].InputIds, options), options, path);

    private static bool[] Choose(int rows, Func<int, UInt128> key, DataOptions options, string path)
    {
        Dictionary<UInt128, List<int>> groups = [];
        for (int i = 0; i < rows; i++)
        {
            ref List<int>? members = ref CollectionsMarshal.GetValueRefOrAddDefault(groups, key(i), out _);
            (members ??= []).Add(i);
        }
        if (groups.Count < 2)
            throw new LoraNetException(FormattableString.Invariant($"--val-split {options.ValidationShare} of '{path}' leaves nothing on one side: all its {rows} rows {(options.KeepPromptsTogether ? "have the same prompt" : "are equal")}."), "Give --eval-data instead.");
        int wanted = Math.Max(1, (int)Math.Round(rows * options.ValidationShare));
        bool[] held = new bool[rows];
        int count = 0, taken = 0;
        foreach ((UInt128 _, List<int> members) in groups.OrderBy(g => g.Key))
        {
            if (count >= wanted || taken == groups.Count - 1) break;
            foreach (int i in members) held[i] = true;
            count += members.Count;
            taken++;
        }
        return held;
    }

    private static UInt128 Key(TokenRow row, DataOptions options)
    {
        int length = row.InputIds.Length;
        if (options.KeepPromptsTogether)
        {
            int first = Array.FindIndex(row.Labels, l => l != TokenRow.Ignored);
            // Rows trained from the start have no prompt; their contents stand for it.
            if (first > 1) length = first;
        }
        return Hash(row.InputIds.AsSpan(0, length), options);
    }

    private static UInt128 Hash(ReadOnlySpan<int> ids, DataOptions options)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> seed = stackalloc byte[8];
        System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(seed, options.ValidationSeed);
        hash.AppendData(seed);
        hash.AppendData(MemoryMarshal.AsBytes(ids));
        Span<byte> bytes = stackalloc byte[32];
        hash.GetHashAndReset(bytes);
        return System.Buffers.Binary.BinaryPrimitives.ReadUInt128LittleEndian(bytes);
    }
}
