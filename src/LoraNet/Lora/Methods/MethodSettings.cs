using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Lora;

/// <summary>
/// A method other than LoRA, with the settings that LoRA does not have; rank, alpha, dropout and targets are those of
/// <see cref="LoraConfig"/>. Names and defaults are PEFT's.
/// </summary>
public abstract record MethodSettings
{
    /// <summary>PEFT's peft_type.</summary>
    public abstract string PeftType { get; }

    /// <summary>Whether an input of the adapter can be dropped (lora_dropout, vera_dropout).</summary>
    internal virtual bool HasDropout => false;

    /// <summary>Whether base biases can be trained beside it.</summary>
    internal virtual bool HasBias => false;

    /// <summary>Whether there is a rank.</summary>
    internal virtual bool HasRank => true;

    /// <summary>Checks ranges.</summary>
    /// <exception cref="LoraNetException">A value is out of range.</exception>
    internal virtual void Validate(LoraConfig config) { }

    /// <summary>What all layers of an adapter share, or null.</summary>
    internal virtual AdapterPart? CreateShared(Backend backend, string adapter, LoraConfig config, IReadOnlyList<LoraTarget> targets) => null;

    /// <summary>The layer of one module.</summary>
    internal abstract MethodLayer Create(MethodContext context);

    /// <summary>Refuses a probability outside [0, 1).</summary>
    private protected static void CheckProbability(string name, double value)
    {
        if (!(value is >= 0 and < 1)) throw new LoraNetException(FormattableString.Invariant($"{name} is {value}; it must be in [0, 1)."));
    }
}

/// <summary>What a method's layer is created from.</summary>
/// <param name="Backend">Where it lives.</param>
/// <param name="Module">The adapted module.</param>
/// <param name="Adapter">Adapter name.</param>
/// <param name="Config">Settings.</param>
/// <param name="Rank">Rank of this module.</param>
/// <param name="Scaling">alpha / r of this module.</param>
/// <param name="Seed">Seed of the initialisation.</param>
/// <param name="Shared">What <see cref="MethodSettings.CreateShared"/> made.</param>
internal sealed record MethodContext(Backend Backend, LinearModule Module, string Adapter, LoraConfig Config, int Rank, double Scaling, ulong Seed, AdapterPart? Shared)
{
    /// <summary>Whether the layer should start as random as its shapes allow, for tests (PEFT's init_weights = false).</summary>
    public bool Random => Config.Init == LoraInit.Random;

    /// <summary>A trainable factor under this module's path.</summary>
    public Parameter Factor(string name, ReadOnlySpan<float> values, ReadOnlySpan<int> shape, ParameterKind kind = ParameterKind.Factor, int[]? storedShape = null) =>
        new(Backend, $"{Module.Path}.{name}", kind, values, shape) { StoredShape = storedShape };

    /// <summary>A matrix ~ U(±1/√columns), Kaiming's bound with a = √5.</summary>
    public Parameter Uniform(string name, int rows, int columns)
    {
        float[] values = new float[(long)rows * columns];
        LoraInitializer.Uniform(values, 1 / Math.Sqrt(columns), Seed, $"{Module.Path}.{name}");
        return Factor(name, values, [rows, columns]);
    }

    /// <summary>A matrix of zeros.</summary>
    public Parameter Zeros(string name, int rows, int columns) => Factor(name, new float[(long)rows * columns], [rows, columns]);

    /// <summary>Standard normal values times a deviation.</summary>
    public float[] Normal(string name, int count, double deviation = 1)
    {
        float[] values = new float[count];
        LoraInitializer.Normal(values, deviation, Seed, $"{Module.Path}.{name}");
        return values;
    }
}
