using System.Numerics.Tensors;

namespace LoraNet.Numerics;

/// <summary>Weights as they come back from a few bits: what quantisation followed by its inverse makes of them.</summary>
internal static class WeightQuantization
{
    /// <summary>Values that share a scale in NF4.</summary>
    public const int Block = 64;

    // The 16 levels of NormalFloat4 (Dettmers et al., 2023): quantiles of a normal distribution, scaled to [-1, 1], with 0 among them.
    private static readonly float[] _levels =
    [
        -1f, -0.6961928f, -0.52507305f, -0.3949175f, -0.28444138f, -0.18477343f, -0.091050036f, 0f,
        0.0795803f, 0.1609302f, 0.2461123f, 0.33791524f, 0.44070983f, 0.562617f, 0.72295684f, 1f,
    ];

    /// <summary>NF4 and back: blocks of 64 values in row-major order, each scaled by its largest magnitude, to the nearest level.</summary>
    public static float[] Nf4(ReadOnlySpan<float> values)
    {
        float[] result = new float[values.Length];
        for (int start = 0; start < values.Length; start += Block)
        {
            ReadOnlySpan<float> block = values.Slice(start, Math.Min(Block, values.Length - start));
            float scale = Math.Abs(TensorPrimitives.MaxMagnitude(block));
            for (int i = 0; i < block.Length; i++) result[start + i] = scale == 0 ? 0 : Nearest(block[i] / scale) * scale;
        }
        return result;
    }

    /// <summary>8-bit integers and back: each row scaled by its largest magnitude to ±127.</summary>
    public static float[] Int8(ReadOnlySpan<float> values, int columns)
    {
        float[] result = new float[values.Length];
        for (int start = 0; start < values.Length; start += columns)
        {
            ReadOnlySpan<float> row = values.Slice(start, columns);
            float scale = Math.Abs(TensorPrimitives.MaxMagnitude(row)) / 127;
            for (int i = 0; i < columns; i++) result[start + i] = scale == 0 ? 0 : MathF.Round(row[i] / scale) * scale;
        }
        return result;
    }

    private static float Nearest(float value)
    {
        int above = Array.BinarySearch(_levels, value);
        if (above >= 0) return _levels[above];
        above = Math.Clamp(~above, 1, _levels.Length - 1);
        return value - _levels[above - 1] <= _levels[above] - value ? _levels[above - 1] : _levels[above];
    }
}
