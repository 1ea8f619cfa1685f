using LoraNet.Formats;

namespace LoraNet.Models;

/// <summary>How rotary frequencies are derived from the base: the <c>rope_type</c> of config.json.</summary>
public enum RopeKind
{
    /// <summary>θ^(−2i/d) (Su et al., 2021).</summary>
    Default,
    /// <summary>All frequencies divided by the factor (position interpolation, Chen et al., 2023).</summary>
    Linear,
    /// <summary>The base grows with the length of the sequence ("dynamic NTK").</summary>
    Dynamic,
    /// <summary>Low frequencies divided by the factor, high ones kept, blended between (Llama 3.1).</summary>
    Llama3,
    /// <summary>A ramp over the dimensions between interpolation and extrapolation, and an attention factor (Peng et al., 2023).</summary>
    Yarn,
    /// <summary>A factor per dimension, one list for short and one for long sequences (Ding et al., 2024; Phi-3).</summary>
    LongRope,
}

/// <summary>
/// The rotary-embedding settings of one kind of layer, from <c>rope_parameters</c> (transformers 5) or
/// <c>rope_theta</c> and <c>rope_scaling</c> (transformers 4). Source: the documentation of transformers' RoPE parameters.
/// </summary>
public sealed record RopeScaling
{
    /// <summary>How the frequencies are derived.</summary>
    public RopeKind Kind { get; init; }

    /// <summary>The base θ.</summary>
    public double Theta { get; init; } = 10000;

    /// <summary>The share of each head that is rotated.</summary>
    public double PartialRotaryFactor { get; init; } = 1;

    /// <summary>The stretch of the context length; for YaRN and LongRoPE null means the ratio of the new to the original length.</summary>
    public double? Factor { get; init; }

    /// <summary>Llama 3: wavelengths above original length / this are divided by the factor.</summary>
    public double LowFreqFactor { get; init; } = 1;

    /// <summary>Llama 3: wavelengths below original length / this are kept.</summary>
    public double HighFreqFactor { get; init; } = 4;

    /// <summary>Context length of pretraining; the model's <c>max_position_embeddings</c> if the file names none.</summary>
    public int OriginalMaxPositionEmbeddings { get; init; }

    /// <summary>Multiplies cos and sin; null for the value the method recommends.</summary>
    public double? AttentionFactor { get; init; }

    /// <summary>YaRN: rotations above which dimensions are extrapolated.</summary>
    public double BetaFast { get; init; } = 32;

    /// <summary>YaRN: rotations below which dimensions are interpolated.</summary>
    public double BetaSlow { get; init; } = 1;

    /// <summary>YaRN: scale of the recommended attention factor, used only together with <see cref="MscaleAllDim"/>.</summary>
    public double? Mscale { get; init; }

    /// <summary>YaRN: divisor of the recommended attention factor, used only together with <see cref="Mscale"/>.</summary>
    public double? MscaleAllDim { get; init; }

    /// <summary>YaRN: whether the ends of the ramp are rounded to whole dimensions.</summary>
    public bool Truncate { get; init; } = true;

    /// <summary>LongRoPE: a factor per frequency for sequences up to the original length.</summary>
    public IReadOnlyList<double>? ShortFactor { get; init; }

    /// <summary>LongRoPE: a factor per frequency for longer sequences.</summary>
    public IReadOnlyList<double>? LongFactor { get; init; }

    /// <summary>
    /// Tables of two sequence lengths are the same if this number is: the length itself for a dynamic scaling beyond
    /// <paramref name="maxPositionEmbeddings"/>, 1 for LongRoPE beyond the original length, else 0.
    /// </summary>
    public int Regime(int sequenceLength, int maxPositionEmbeddings) => Kind switch
    {
        RopeKind.Dynamic => sequenceLength > maxPositionEmbeddings ? sequenceLength : 0,
        RopeKind.LongRope => sequenceLength > OriginalMaxPositionEmbeddings ? 1 : 0,
        _ => 0,
    };

    /// <summary>Reads one object of parameters (or none: <paramref name="json"/> null) with the defaults that the rest of the file gives.</summary>
    internal static RopeScaling Read(JsonReader? json, string modelType, double theta, double? partialRotaryFactor, int? original, int maxPositions, int headDim)
    {
        string type = json?.String("rope_type", "type") ?? "default";
        RopeKind kind = type switch
        {
            "default" or "" => RopeKind.Default,
            "linear" => RopeKind.Linear,
            "dynamic" => RopeKind.Dynamic,
            "llama3" => RopeKind.Llama3,
            // Early Phi-3 files say "su" or "yarn" where they mean what is now called longrope.
            "yarn" when modelType == "phi3" && json!.Has("short_factor") => RopeKind.LongRope,
            "yarn" => RopeKind.Yarn,
            "longrope" or "su" => RopeKind.LongRope,
            _ => throw json!.Error("rope_type", $"is \"{type}\", which is not supported (supported: default, linear, dynamic, llama3, yarn, longrope)"),
        };
        RopeScaling rope = new()
        {
            Kind = kind,
            Theta = json?.Number(1.001, 1e15, "rope_theta") ?? theta,
            // A value beside the parameters wins over one among them, as in transformers.
            PartialRotaryFactor = partialRotaryFactor ?? json?.Number(0, 1, "partial_rotary_factor") ?? 1,
            Factor = json?.Number(1e-3, 1e6, "factor"),
            LowFreqFactor = json?.Number(1e-6, 1e6, "low_freq_factor") ?? 1,
            HighFreqFactor = json?.Number(1e-6, 1e6, "high_freq_factor") ?? 4,
            OriginalMaxPositionEmbeddings = original ?? json?.Int(2, int.MaxValue, "original_max_position_embeddings") ?? maxPositions,
            AttentionFactor = json?.Number(0, 1e6, "attention_factor"),
            // transformers takes a 0 for these as "not given".
            BetaFast = json?.Number(0, 1e6, "beta_fast") is > 0 and double fast ? fast : 32,
            BetaSlow = json?.Number(0, 1e6, "beta_slow") is > 0 and double slow ? slow : 1,
            Mscale = json?.Number(0, 1e6, "mscale"),
            MscaleAllDim = json?.Number(0, 1e6, "mscale_all_dim"),
            Truncate = json?.Bool("truncate") ?? true,
            ShortFactor = json?.Numbers("short_factor", 1e-6, 1e9),
            LongFactor = json?.Numbers("long_factor", 1e-6, 1e9),
        };
        rope.Check(json, headDim);
        return rope;
    }

    /// <summary>Rotated elements of a head: ⌊head size · share⌋.</summary>
    /// <param name="headDim">Size of a head.</param>
    public int RotaryDim(int headDim) => (int)(headDim * PartialRotaryFactor);

    private void Check(JsonReader? json, int headDim)
    {
        int dim = RotaryDim(headDim);
        if (dim % 2 != 0) throw new LoraNetException($"{json?.Source ?? "config.json"}: {dim} of the {headDim} elements of a head would be rotated, which is odd.", "Check head_dim and partial_rotary_factor.");
        if (json is null) return;
        if (Kind is RopeKind.Linear or RopeKind.Dynamic or RopeKind.Llama3 && Factor is null) throw json.Missing("factor");
        if (Kind is RopeKind.Dynamic && dim <= 2) throw json.Error("rope_type", "is \"dynamic\", which needs more than 2 rotated elements in a head");
        if (Kind is RopeKind.Llama3 && HighFreqFactor <= LowFreqFactor) throw json.Error("high_freq_factor", $"is {HighFreqFactor}, but must be greater than low_freq_factor ({LowFreqFactor})");
        if (Kind is not RopeKind.LongRope) return;
        foreach ((string key, IReadOnlyList<double>? list) in new[] { ("short_factor", ShortFactor), ("long_factor", LongFactor) })
        {
            if (list is null) throw json.Missing(key);
            if (list.Count != dim / 2) throw json.Error(key, $"has {list.Count} entries, but {dim / 2} frequencies need one each");
        }
    }
}
