using LoraNet.Numerics;

namespace LoraNet.Adapters;

/// <summary>How many singular values an SVD keeps: a number, a share of the energy Σσ², or the smaller of both.</summary>
/// <param name="Rank">Largest rank, or null for no limit.</param>
/// <param name="Energy">Keep the fewest values that hold this share of Σσ², in (0, 1]; null to keep <paramref name="Rank"/>.</param>
public readonly record struct RankChoice(int? Rank = null, double? Energy = null)
{
    // Below this share of the largest, a singular value of float weights is rounding.
    private const double Noise = 1e-7;

    /// <summary>Checks the values.</summary>
    /// <exception cref="LoraNetException">Neither is given, or one is out of range.</exception>
    public void Validate()
    {
        if (Rank is null && Energy is null) throw new LoraNetException("Neither a rank nor an energy was given.", "Give --rank 16 or --energy 0.99.");
        if (Rank is <= 0) throw new LoraNetException($"Rank {Rank} is not positive.");
        if (Energy is { } e && !(e is > 0 and <= 1)) throw new LoraNetException($"Energy {e} is not in (0, 1].");
    }

    /// <summary>The kept part of a decomposition that holds at least as much as is wanted.</summary>
    /// <param name="svd">Largest values first.</param>
    /// <param name="total">Σσ² of the whole matrix.</param>
    internal Svd Apply(Svd svd, double total)
    {
        int rank = svd.NumericRank(Noise);
        if (Rank is { } limit) rank = Math.Min(rank, limit);
        if (Energy is not { } share) return svd.Take(rank);
        double kept = 0;
        for (int i = 0; i < rank; i++)
        {
            kept += svd.S[i] * svd.S[i];
            if (kept >= share * total) return svd.Take(i + 1);
        }
        return svd.Take(rank);
    }

    /// <summary>Decomposes a dense matrix as far as the choice needs.</summary>
    internal Svd Decompose(float[] delta, int rows, int columns, double total)
    {
        int limit = Math.Min(Rank ?? int.MaxValue, Math.Min(rows, columns));
        int guess = Energy is null ? limit : Math.Min(16, limit);
        while (true)
        {
            Svd svd = TruncatedSvd.Decompose(delta, rows, columns, guess);
            if (guess == limit || svd.S.Sum(s => s * s) >= Energy * total) return Apply(svd, total);
            guess = Math.Min(4 * guess, limit);
        }
    }
}
