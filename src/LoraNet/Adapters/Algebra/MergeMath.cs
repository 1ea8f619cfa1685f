using System.Numerics.Tensors;
using LoraNet.Tensors;

namespace LoraNet.Adapters;

/// <summary>Entry-wise merging of equally long vectors: pruning, DARE and TIES, with PEFT's rules for ties and zeros.</summary>
internal static class MergeMath
{
    /// <summary>Merges copies of <paramref name="values"/> after pruning them.</summary>
    /// <param name="type">A type with or without svd; linear adds up.</param>
    /// <param name="values">One vector per adapter.</param>
    /// <param name="weights">One weight per adapter.</param>
    /// <param name="density">Share kept.</param>
    /// <param name="sign">TIES' election.</param>
    /// <param name="seed">Seed of DARE.</param>
    /// <param name="stream">Names the vector, so that each has its own mask.</param>
    public static float[] Merge(CombinationType type, IReadOnlyList<float[]> values, IReadOnlyList<double> weights, double density, MajoritySign sign, ulong seed, string stream)
    {
        bool dare = type is CombinationType.DareLinear or CombinationType.DareLinearSvd or CombinationType.DareTies or CombinationType.DareTiesSvd;
        bool prunes = type is CombinationType.Ties or CombinationType.TiesSvd or CombinationType.MagnitudePrune or CombinationType.MagnitudePruneSvd;
        bool elects = type is CombinationType.Ties or CombinationType.TiesSvd or CombinationType.DareTies or CombinationType.DareTiesSvd;
        List<float[]> kept = [.. values];
        for (int i = 0; i < kept.Count; i++)
        {
            if (dare) kept[i] = Drop(kept[i], density, seed, $"{stream}.{i}");
            else if (prunes) kept[i] = KeepLargest(kept[i], density);
        }
        return elects ? Elect(kept, weights, sign) : Sum(kept, weights);
    }

    /// <summary>Σ wᵢ·vᵢ, added up in binary64.</summary>
    public static float[] Sum(IReadOnlyList<float[]> values, IReadOnlyList<double> weights)
    {
        float[] result = new float[values[0].Length];
        for (int j = 0; j < result.Length; j++)
        {
            double sum = 0;
            for (int i = 0; i < values.Count; i++) sum += weights[i] * values[i][j];
            result[j] = (float)sum;
        }
        return result;
    }

    /// <summary>Keeps the ⌊density·n⌋ entries of largest magnitude, the first of equal ones, and zeroes the rest.</summary>
    public static float[] KeepLargest(float[] values, double density)
    {
        int keep = (int)(density * values.Length);
        if (keep >= values.Length) return values;
        float[] result = new float[values.Length];
        if (keep == 0) return result;
        float[] magnitudes = new float[values.Length];
        TensorPrimitives.Abs(values, magnitudes);
        float threshold = Select(magnitudes, values.Length - keep);
        int equal = keep - values.Count(v => Math.Abs(v) > threshold);
        for (int i = 0; i < values.Length; i++)
        {
            float magnitude = Math.Abs(values[i]);
            if (magnitude > threshold || (magnitude == threshold && equal-- > 0)) result[i] = values[i];
        }
        return result;
    }

    /// <summary>Keeps each entry with probability <paramref name="density"/> and divides it by that, so that the mean stays.</summary>
    public static float[] Drop(float[] values, double density, ulong seed, string stream)
    {
        DropoutKey key = DropoutKey.Create(seed, stream, "dare", 0);
        float[] result = new float[values.Length];
        ulong threshold = Philox.Threshold((float)(1 - density));
        float scale = (float)(1 / density);
        for (int i = 0; i < values.Length; i += 4)
        {
            (uint w0, uint w1, uint w2, uint w3) = Philox.Block(key, 0, (uint)(i / 4));
            ReadOnlySpan<uint> words = [w0, w1, w2, w3];
            for (int j = 0; j < 4 && i + j < values.Length; j++) if (words[j] >= threshold) result[i + j] = values[i + j] * scale;
        }
        return result;
    }

    /// <summary>
    /// TIES: each entry's sign is elected from the unweighted values (a tie counts as +); the weighted values that agree are
    /// added and divided by their number.
    /// </summary>
    public static float[] Elect(IReadOnlyList<float[]> values, IReadOnlyList<double> weights, MajoritySign sign)
    {
        float[] result = new float[values[0].Length];
        for (int j = 0; j < result.Length; j++)
        {
            double vote = 0, sum = 0;
            foreach (float[] v in values) vote += sign == MajoritySign.Total ? v[j] : Math.Sign(v[j]);
            int elected = vote >= 0 ? 1 : -1, agreeing = 0;
            for (int i = 0; i < values.Count; i++)
            {
                if (Math.Sign(values[i][j]) != elected) continue;
                sum += weights[i] * values[i][j];
                agreeing++;
            }
            result[j] = (float)(sum / Math.Max(1, agreeing));
        }
        return result;
    }

    /// <summary>The value that would stand at <paramref name="index"/> in ascending order (Hoare's quickselect); reorders the array.</summary>
    private static float Select(float[] values, int index)
    {
        int low = 0, high = values.Length - 1;
        while (low < high)
        {
            float pivot = values[low + (high - low) / 2];
            int i = low, j = high;
            while (i <= j)
            {
                while (values[i] < pivot) i++;
                while (values[j] > pivot) j--;
                if (i > j) break;
                (values[i], values[j]) = (values[j], values[i]);
                i++;
                j--;
            }
            if (index <= j) high = j;
            else if (index >= i) low = i;
            else break;
        }
        return values[index];
    }
}
