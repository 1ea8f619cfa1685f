using System.Runtime.InteropServices;
using System.Security.Cryptography;
using LoraNet.Models;

namespace LoraNet.Data.Encoders;

/// <summary>Counts what a report shows, from finished rows.</summary>
internal static class ReportBuilder
{
    private const int Named = 10;

    /// <summary>The report of rows and what was noticed about each.</summary>
    /// <param name="rows">The rows.</param>
    /// <param name="facts">As many facts.</param>
    /// <param name="leftOut">Rows that were left out for want of a trained token.</param>
    public static DataReport Build(IReadOnlyList<TokenRow> rows, IReadOnlyList<RowFacts> facts, IReadOnlyList<RowFacts> leftOut)
    {
        long tokens = 0, trained = 0, cut = 0, unknown = 0;
        int longest = 0, truncated = 0, empty = 0, duplicates = 0, doubled = 0, eos = 0, untrained = leftOut.Count;
        SortedDictionary<DataForm, int> forms = [];
        HashSet<UInt128> seen = [];
        List<string> untrainedPlaces = [.. leftOut.Take(Named).Select(f => f.Place.ToString())], doubledPlaces = [];
        for (int i = 0; i < rows.Count; i++)
        {
            TokenRow row = rows[i];
            RowFacts fact = facts[i];
            int length = row.InputIds.Length, trainedHere = row.TrainedTokens;
            tokens += length;
            trained += trainedHere;
            longest = Math.Max(longest, length);
            unknown += fact.Unknown;
            forms[fact.Form] = forms.GetValueOrDefault(fact.Form) + 1;
            if (fact.FullLength > length)
            {
                truncated++;
                cut += fact.FullLength - length;
            }
            if (trainedHere == 0)
            {
                untrained++;
                if (untrainedPlaces.Count < Named) untrainedPlaces.Add(fact.Place.ToString());
            }
            if (fact.Flags.HasFlag(RowFlags.EmptyAnswer)) empty++;
            if (fact.Flags.HasFlag(RowFlags.EndsInEos)) eos++;
            if (fact.Flags.HasFlag(RowFlags.DoubledBos) && ++doubled <= Named) doubledPlaces.Add(fact.Place.ToString());
            if (!seen.Add(ContentHash(row))) duplicates++;
        }
        return new DataReport
        {
            Rows = rows.Count,
            Tokens = tokens,
            TrainedTokens = trained,
            Longest = longest,
            Truncated = truncated,
            TokensCut = cut,
            Forms = forms,
            Untrained = untrained,
            UntrainedPlaces = untrainedPlaces,
            EmptyAnswers = empty,
            Duplicates = duplicates,
            UnknownTokens = unknown,
            DoubledBos = doubled,
            DoubledBosPlaces = doubledPlaces,
            EndInEos = eos,
            Lengths = Histogram(rows, longest),
        };
    }

    /// <summary>128 bits of SHA-256 over all that training sees of a row.</summary>
    public static UInt128 ContentHash(TokenRow row)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(MemoryMarshal.AsBytes(row.InputIds.AsSpan()));
        hash.AppendData([1]);
        hash.AppendData(MemoryMarshal.AsBytes(row.Labels.AsSpan()));
        if (row.AttentionMask is { } mask) hash.AppendData(MemoryMarshal.AsBytes(mask.AsSpan()));
        Span<byte> bytes = stackalloc byte[32];
        hash.GetHashAndReset(bytes);
        return System.Buffers.Binary.BinaryPrimitives.ReadUInt128LittleEndian(bytes);
    }

    // At most sixteen ranges of a round width, from the first that has rows.
    private static List<LengthBucket> Histogram(IReadOnlyList<TokenRow> rows, int longest)
    {
        if (rows.Count == 0) return [];
        int width = 1, step = 0;
        int[] factors = [2, 5, 10];
        for (int power = 1; (longest + width - 1) / width > 16; step++)
        {
            width = power * factors[step % 3];
            if (step % 3 == 2) power *= 10;
        }
        int[] counts = new int[Math.Max(1, (longest + width - 1) / width)];
        foreach (TokenRow row in rows) counts[Math.Max(0, row.InputIds.Length - 1) / width]++;
        return [.. counts.Select((n, i) => new LengthBucket(i == 0 ? 0 : i * width + 1, (i + 1) * width, n)).SkipWhile(b => b.Rows == 0)];
    }
}
