using LoraNet.Tensors;

namespace LoraNet.Models;

/// <summary>
/// One tensor of the base model: the mapped original, its form on the backend, and the trainable copy that replaces it
/// while an adapter with modules_to_save or trained biases is active. The original is never written.
/// </summary>
public sealed class BaseTensor
{
    private readonly Backend _backend;
    private readonly Weight? _weight;
    private Tensor? _vector;

    /// <summary>Wraps a tensor of the model file.</summary>
    /// <param name="backend">Where it is computed with.</param>
    /// <param name="name">Hugging Face name, such as <c>model.norm.weight</c>.</param>
    /// <param name="source">The mapped original.</param>
    /// <param name="transposed">True for Conv1D weights stored [in, out].</param>
    /// <param name="weight">An existing handle to share (tied embeddings), or null.</param>
    public BaseTensor(Backend backend, string name, HostTensor source, bool transposed = false, Weight? weight = null)
    {
        _backend = backend;
        Name = name;
        Source = source;
        Transposed = transposed;
        if (source.Shape.Length == 2) _weight = weight ?? new Weight(name, source, transposed);
    }

    /// <summary>Where it is computed with.</summary>
    internal Backend Backend => _backend;

    /// <summary>Hugging Face name.</summary>
    public string Name { get; }

    /// <summary>The mapped original.</summary>
    public HostTensor Source { get; }

    /// <summary>True when the original is stored [in, out].</summary>
    public bool Transposed { get; }

    /// <summary>The frozen matrix, or null for a vector.</summary>
    public Weight? Weight => Standin ?? _weight;

    /// <summary>A frozen matrix used in place of the original while an adapter needs another base (LoftQ), or null.</summary>
    internal Weight? Standin { get; set; }

    /// <summary>The trainable copy that replaces the original, or null.</summary>
    public Parameter? Override { get; set; }

    /// <summary>A bias or norm weight as a tensor: the trainable copy if there is one, else the frozen values.</summary>
    public Tensor Vector
    {
        get
        {
            if (Override is not null) return Override.Value;
            if (_vector is null)
            {
                float[] values = Source.ToArray();
                _vector = _backend.Create(values, values.Length);
            }
            return _vector;
        }
    }

    /// <summary>A trainable copy of the original under the given name; matrices in [out, in] order.</summary>
    public Parameter CreateCopy(string name, ParameterKind kind)
    {
        float[] values = Source.ToArray();
        if (Weight is null) return new Parameter(_backend, name, kind, values, Source.Shape);
        if (Transposed) values = Parameter.Transpose(values, Source.Shape[0], Source.Shape[1]);
        return new Parameter(_backend, name, kind, values, [Weight.Rows, Weight.Columns], transposedOnDisk: Transposed);
    }

    /// <summary>Prepares the frozen matrix on the backend.</summary>
    public void Prepare()
    {
        if (Weight is not null && Override is null) _backend.Prepare(Weight);
    }
}
