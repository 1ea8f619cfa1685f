using LoraNet.Tensors;

namespace LoraNet.Models;

/// <summary>What a trainable tensor is to the optimizer and to the adapter file.</summary>
public enum ParameterKind
{
    /// <summary>LoRA's down projection A [r, in] (or the embedding's A, stored [r, vocab]).</summary>
    LoraA,
    /// <summary>LoRA's up projection B [out, r] (or the embedding's B, [dim, r]).</summary>
    LoraB,
    /// <summary>The bias on B.</summary>
    LoraBias,
    /// <summary>DoRA's magnitude vector.</summary>
    Magnitude,
    /// <summary>A base bias trained by <c>bias = all</c> or <c>lora_only</c>.</summary>
    BaseBias,
    /// <summary>A whole base tensor trained as a copy: modules_to_save, or full fine-tuning.</summary>
    Full,
}

/// <summary>A trainable tensor with its gradient; both live on the backend and are F32.</summary>
public sealed class Parameter : IDisposable
{
    /// <summary>Creates the value and a zeroed gradient.</summary>
    /// <param name="backend">Where it lives.</param>
    /// <param name="name">Name without the PEFT prefix, such as <c>model.layers.0.self_attn.q_proj.lora_A.weight</c>.</param>
    /// <param name="kind">What it is.</param>
    /// <param name="values">Initial values in the order of <paramref name="shape"/>.</param>
    /// <param name="shape">Shape in memory.</param>
    /// <param name="transposedOnDisk">True when files hold the transposed matrix.</param>
    public Parameter(Backend backend, string name, ParameterKind kind, ReadOnlySpan<float> values, ReadOnlySpan<int> shape, bool transposedOnDisk = false)
    {
        Name = name;
        Kind = kind;
        TransposedOnDisk = transposedOnDisk;
        Value = backend.Create(values, shape);
        Gradient = backend.Create(backend.ParameterType, shape);
        backend.Zero(Gradient);
        Value.Grad = Gradient;
    }

    /// <summary>Name without the PEFT prefix.</summary>
    public string Name { get; }

    /// <summary>What it is to the optimizer.</summary>
    public ParameterKind Kind { get; }

    /// <summary>True when files hold the transposed matrix.</summary>
    public bool TransposedOnDisk { get; }

    /// <summary>The values.</summary>
    public Tensor Value { get; }

    /// <summary>The gradient; operations add to it, the trainer zeroes it.</summary>
    public Tensor Gradient { get; }

    /// <summary>Number of values.</summary>
    public long Count => Value.Count;

    /// <summary>Whether backward computes its gradient.</summary>
    public bool Trainable
    {
        get => Value.RequiresGrad;
        set => Value.RequiresGrad = value;
    }

    /// <summary>Shape in files.</summary>
    public int[] FileShape => TransposedOnDisk ? [Value[1], Value[0]] : Value.GetShape();

    /// <summary>The values (or the gradient) in file order, row-major in <see cref="FileShape"/>.</summary>
    public float[] ToFile(bool gradient = false)
    {
        float[] values = Value.Backend.Download(gradient ? Gradient : Value);
        return TransposedOnDisk ? Transpose(values, Value[0], Value[1]) : values;
    }

    /// <summary>Overwrites the values from file order.</summary>
    public void FromFile(ReadOnlySpan<float> values) =>
        Value.Backend.Upload(TransposedOnDisk ? Transpose(values, Value[1], Value[0]) : values, Value);

    /// <inheritdoc/>
    public void Dispose()
    {
        Value.Backend.Free(Value);
        Gradient.Backend.Free(Gradient);
    }

    /// <summary>The transposed copy of a row-major [rows, columns] matrix.</summary>
    public static float[] Transpose(ReadOnlySpan<float> values, int rows, int columns)
    {
        float[] result = new float[values.Length];
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++)
                result[j * (long)rows + i] = values[i * columns + j];
        return result;
    }
}
