namespace LoraNet.Models;

/// <summary>The cosines and sines of rotary position embeddings for positions 0 … P−1.</summary>
/// <remarks>
/// Frequencies and angles are rounded to binary32 where PyTorch's are, the cosine itself is taken in double of the rounded angle.
/// Exact angles would not be better: the models were trained with the rounded ones, and at position 4000 the angle of the first
/// dimensions differs by 1e-4, a hundred times what the rest of a forward pass may deviate.
/// </remarks>
public sealed class RopeTable
{
    private RopeTable(float[] inverseFrequencies, float attentionFactor, int positions)
    {
        InverseFrequencies = inverseFrequencies;
        AttentionFactor = attentionFactor;
        Positions = positions;
        int half = inverseFrequencies.Length;
        Cos = new float[checked(positions * half)];
        Sin = new float[positions * half];
        for (int p = 0; p < positions; p++)
        {
            for (int i = 0; i < half; i++)
            {
                float angle = p * inverseFrequencies[i];
                Cos[p * half + i] = (float)Math.Cos(angle) * attentionFactor;
                Sin[p * half + i] = (float)Math.Sin(angle) * attentionFactor;
            }
        }
    }

    /// <summary>Angle per position of each pair of elements [R/2].</summary>
    public float[] InverseFrequencies { get; }

    /// <summary>What cos and sin were multiplied with.</summary>
    public float AttentionFactor { get; }

    /// <summary>Number of positions P.</summary>
    public int Positions { get; }

    /// <summary>Columns R/2 of the tables.</summary>
    public int Columns => InverseFrequencies.Length;

    /// <summary>attention factor · cos(p · inverse frequency i), row-major [P, R/2].</summary>
    public float[] Cos { get; }

    /// <summary>attention factor · sin(p · inverse frequency i), row-major [P, R/2].</summary>
    public float[] Sin { get; }

    /// <summary>Computes the table.</summary>
    /// <param name="rope">The settings.</param>
    /// <param name="headDim">Size of a head.</param>
    /// <param name="maxPositionEmbeddings">The model's context length.</param>
    /// <param name="positions">Rows P of the table.</param>
    /// <param name="sequenceLength">Length of the sequence that the frequencies are for (matters for <see cref="RopeKind.Dynamic"/>
    /// and <see cref="RopeKind.LongRope"/> only, see <see cref="RopeScaling.Regime"/>); <paramref name="positions"/> if null.</param>
    public static RopeTable Create(RopeScaling rope, int headDim, int maxPositionEmbeddings, int positions, int? sequenceLength = null)
    {
        (float[] frequencies, double factor) = Frequencies(rope, rope.RotaryDim(headDim), maxPositionEmbeddings, sequenceLength ?? positions);
        return new RopeTable(frequencies, (float)factor, positions);
    }

    /// <summary>Inverse frequencies and attention factor, step by step in binary32 as PyTorch computes them.</summary>
    internal static (float[] InverseFrequencies, double AttentionFactor) Frequencies(RopeScaling rope, int dim, int maxPositions, int length)
    {
        double theta = rope.Theta;
        if (rope.Kind == RopeKind.Dynamic)
        {
            double factor = rope.Factor!.Value;
            theta *= Math.Pow(factor * Math.Max(length, maxPositions) / maxPositions - (factor - 1), dim / (dim - 2.0));
        }
        // θ^(2i/d), each step rounded to binary32.
        float[] power = new float[dim / 2];
        for (int i = 0; i < power.Length; i++) power[i] = (float)Math.Pow((float)theta, (float)(2 * i) / dim);
        return rope.Kind switch
        {
            RopeKind.Linear => (Map(power, p => 1f / p / (float)rope.Factor!.Value), 1),
            RopeKind.Llama3 => (Map(power, p => Llama3(1f / p, rope)), 1),
            RopeKind.Yarn => Yarn(power, rope, dim, maxPositions),
            RopeKind.LongRope => LongRope(power, rope, maxPositions, length),
            _ => (Map(power, static p => 1f / p), 1),
        };
    }

    private static float[] Map(float[] power, Func<float, float> f) => [.. power.Select(f)];

    private static float Llama3(float frequency, RopeScaling rope)
    {
        float factor = (float)rope.Factor!.Value;
        float length = rope.OriginalMaxPositionEmbeddings;
        float wavelength = (float)(2 * Math.PI) / frequency;
        if (wavelength < (float)(rope.OriginalMaxPositionEmbeddings / rope.HighFreqFactor)) return frequency;
        if (wavelength > (float)(rope.OriginalMaxPositionEmbeddings / rope.LowFreqFactor)) return frequency / factor;
        float smooth = (length / wavelength - (float)rope.LowFreqFactor) / (float)(rope.HighFreqFactor - rope.LowFreqFactor);
        return (1 - smooth) * frequency / factor + smooth * frequency;
    }

    private static (float[], double) Yarn(float[] power, RopeScaling rope, int dim, int maxPositions)
    {
        int original = rope.OriginalMaxPositionEmbeddings;
        double factor = rope.Factor ?? (double)maxPositions / original;
        // The dimension at which a wave turns `rotations` times over the original length.
        double Dimension(double rotations) => dim * Math.Log(original / (rotations * 2 * Math.PI)) / (2 * Math.Log(rope.Theta));
        double low = Dimension(rope.BetaFast), high = Dimension(rope.BetaSlow);
        if (rope.Truncate) (low, high) = (Math.Floor(low), Math.Ceiling(high));
        (low, high) = (Math.Max(low, 0), Math.Min(high, dim - 1));
        if (low == high) high += 0.001;
        float[] result = new float[power.Length];
        for (int i = 0; i < result.Length; i++)
        {
            float ramp = Math.Clamp((i - (float)low) / (float)(high - low), 0f, 1f);
            float keep = 1 - ramp;
            result[i] = 1f / ((float)factor * power[i]) * (1 - keep) + 1f / power[i] * keep;
        }
        double Recommended(double mscale) => factor <= 1 ? 1 : 0.1 * mscale * Math.Log(factor) + 1;
        double attention = rope.AttentionFactor
            ?? (rope.Mscale is > 0 and double m && rope.MscaleAllDim is > 0 and double all ? Recommended(m) / Recommended(all) : Recommended(1));
        return (result, attention);
    }

    private static (float[], double) LongRope(float[] power, RopeScaling rope, int maxPositions, int length)
    {
        int original = rope.OriginalMaxPositionEmbeddings;
        double factor = rope.Factor ?? (double)maxPositions / original;
        double attention = rope.AttentionFactor ?? (factor <= 1 ? 1 : Math.Sqrt(1 + Math.Log(factor) / Math.Log(original)));
        IReadOnlyList<double> factors = (length > original ? rope.LongFactor : rope.ShortFactor)!;
        float[] result = new float[power.Length];
        for (int i = 0; i < result.Length; i++) result[i] = 1f / ((float)factors[i] * power[i]);
        return (result, attention);
    }
}
