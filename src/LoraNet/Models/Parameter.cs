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
    /// <summary>A factor or vector of another method than LoRA.</summary>
    Factor,
}

/// <summary>A trainable tensor with its gradient; both live on the backend and are F32.</summary>
public sealed class Parameter : IDisposable
{
    private readonly Tensor? _gradient;
    private readonly List<Parameter> _slices = [];
    private readonly bool _owned = true;

    /// <summary>Creates the value and a zeroed gradient.</summary>
    /// <param name="backend">Where it lives.</param>
    /// <param name="name">Name without the PEFT prefix, such as <c>model.layers.0.self_attn.q_proj.lora_A.weight</c>.</param>
    /// <param name="kind">What it is.</param>
    /// <param name="values">Initial values in the order of <paramref name="shape"/>.</param>
    /// <param name="shape">Shape in memory.</param>
    /// <param name="transposedOnDisk">True when files hold the transposed matrix.</param>
    /// <param name="frozen">True for a part of an adapter that is never trained; it has no gradient.</param>
    public Parameter(Backend backend, string name, ParameterKind kind, ReadOnlySpan<float> values, ReadOnlySpan<int> shape, bool transposedOnDisk = false, bool frozen = false)
    {
        Name = name;
        Kind = kind;
        TransposedOnDisk = transposedOnDisk;
        Frozen = frozen;
        Value = backend.Create(values, shape);
        if (frozen) return;
        _gradient = backend.Create(backend.ParameterType, shape);
        backend.Zero(_gradient);
        Value.Grad = _gradient;
    }

    private Parameter(Parameter whole, string name, int firstRow, int rows)
    {
        (Name, Kind, Frozen, _owned) = (name, whole.Kind, whole.Frozen, false);
        Value = Part(whole.Value);
        if (whole._gradient is null) return;
        _gradient = Part(whole._gradient);
        Value.Grad = _gradient;

        Tensor Part(Tensor tensor) => tensor.Backend.Slice(tensor, firstRow, rows);
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
    /// <exception cref="InvalidOperationException">The parameter is frozen.</exception>
    public Tensor Gradient => _gradient ?? throw new InvalidOperationException($"'{Name}' is frozen and has no gradient.");

    /// <summary>True for a part of an adapter that is never trained.</summary>
    public bool Frozen { get; private set; }

    /// <summary>
    /// Number of stacked matrices E, or 1: in memory they lie one below the other, [E·rows, columns]; files hold [rows, columns·E] with
    /// the matrix number running fastest (PEFT's B of fused experts).
    /// </summary>
    public int Stacked { get; init; } = 1;

    /// <summary>Number of values.</summary>
    public long Count => Value.Count;

    /// <summary>Whether backward computes its gradient; stays false while the parameter is frozen.</summary>
    public bool Trainable
    {
        get => Value.RequiresGrad;
        set
        {
            Value.RequiresGrad = value && !Frozen;
            foreach (Parameter slice in _slices) slice.Trainable = value;
        }
    }

    /// <summary>Another shape in files with the same values in the same order, such as [r, 1] for a vector; null for none.</summary>
    public int[]? StoredShape { get; init; }

    /// <summary>Shape in files.</summary>
    public int[] FileShape => StoredShape is not null ? StoredShape : Stacked > 1 ? [Value[0] / Stacked, Value[1] * Stacked] : TransposedOnDisk ? [Value[1], Value[0]] : Value.GetShape();

    /// <summary>The values (or the gradient) in file order, row-major in <see cref="FileShape"/>.</summary>
    public float[] ToFile(bool gradient = false)
    {
        float[] values = Value.Backend.Download(gradient ? Gradient : Value);
        if (Stacked > 1) return Transpose(values, Stacked, values.Length / Stacked);
        return TransposedOnDisk ? Transpose(values, Value[0], Value[1]) : values;
    }

    /// <summary>Overwrites the values from file order.</summary>
    public void FromFile(ReadOnlySpan<float> values)
    {
        if (Stacked > 1) values = Transpose(values, values.Length / Stacked, Stacked);
        else if (TransposedOnDisk) values = Transpose(values, Value[1], Value[0]);
        Value.Backend.Upload(values, Value);
    }

    /// <summary>Stops training this parameter for good (LoRA-FA); its gradient stays 0.</summary>
    public void Freeze()
    {
        Frozen = true;
        Trainable = false;
    }

    /// <summary>Rows of this parameter as one of their own, over the same memory; it is trained when this one is.</summary>
    internal Parameter Slice(string name, int firstRow, int rows)
    {
        Parameter slice = new(this, name, firstRow, rows) { Trainable = Trainable };
        _slices.Add(slice);
        return slice;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_owned) return;
        Value.Backend.Free(Value);
        if (_gradient is not null) _gradient.Backend.Free(_gradient);
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
