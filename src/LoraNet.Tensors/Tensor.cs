using System.Numerics.Tensors;

namespace LoraNet.Tensors;

/// <summary>
/// Row-major elements in the memory of one backend. The element type is known at run time; spans appear only at the
/// edges of kernels. Temporary tensors come from the backend's <see cref="Arena"/>, are counted references and return
/// there when the count reaches zero, so that a steady-state step allocates nothing.
/// </summary>
public sealed unsafe class Tensor
{
    internal int References;
    internal int SlotReferences;
    internal Arena? Home;
    internal ArenaBlock? Block;
    internal Tensor? ViewOf;

    // The recorded operation that can compute the elements again, and how many backwards still count on that.
    internal Autograd.IRebuilds? Maker;
    internal int Rebuilders;
    internal bool Rebuilt;
    private int _d0, _d1, _d2, _d3;

    internal Tensor() { }

    /// <summary>Backend whose memory holds the elements.</summary>
    public Backend Backend { get; internal set; } = null!;

    /// <summary>Element type.</summary>
    public DType DType { get; internal set; }

    /// <summary>Address of the first element: a host pointer, or a device pointer on CUDA.</summary>
    public nint Address { get; internal set; }

    /// <summary>Number of dimensions, 1 to 4.</summary>
    public int Rank { get; private set; }

    /// <summary>Number of elements.</summary>
    public long Count { get; private set; }

    /// <summary>Rows when seen as a matrix: the product of all dimensions but the last (1 for a vector).</summary>
    public int Rows => Rank <= 1 ? 1 : (int)(Columns == 0 ? LeadingProduct() : Count / Columns);

    /// <summary>Columns when seen as a matrix: the last dimension.</summary>
    public int Columns => this[Rank - 1];

    /// <summary>Bytes of all elements.</summary>
    public long Bytes => Count * DType.Size();

    /// <summary>True for a trainable parameter and for every value computed from one: backward reaches it.</summary>
    public bool RequiresGrad { get; set; }

    /// <summary>Gradient of the loss with respect to this tensor, or null before any arrived.</summary>
    public Tensor? Grad { get; set; }

    /// <summary>Size of dimension <paramref name="dimension"/>.</summary>
    public int this[int dimension] => dimension switch
    {
        0 when Rank > 0 => _d0,
        1 when Rank > 1 => _d1,
        2 when Rank > 2 => _d2,
        3 when Rank > 3 => _d3,
        _ => throw new ArgumentOutOfRangeException(nameof(dimension)),
    };

    /// <summary>The dimensions as a new array.</summary>
    public int[] GetShape()
    {
        int[] shape = new int[Rank];
        for (int i = 0; i < Rank; i++) shape[i] = this[i];
        return shape;
    }

    /// <summary>The dimensions in the caller's buffer of at least four numbers.</summary>
    public ReadOnlySpan<int> GetShapeSpan(Span<int> buffer)
    {
        for (int i = 0; i < Rank; i++) buffer[i] = this[i];
        return buffer[..Rank];
    }

    /// <summary>The dimensions as text, for errors: [2, 3].</summary>
    public string ShapeText => $"[{string.Join(", ", GetShape())}]";

    /// <summary>The elements of a tensor in host memory. Valid until the tensor is released.</summary>
    /// <exception cref="InvalidOperationException">The tensor is not in host memory or holds another type.</exception>
    public Span<T> Span<T>() where T : unmanaged
    {
        if (!Backend.IsHost) throw new InvalidOperationException("The tensor is in device memory; use Backend.Download.");
        if (sizeof(T) != DType.Size()) throw new InvalidOperationException($"The tensor holds {DType}, not {typeof(T).Name}.");
        return new Span<T>((void*)Address, checked((int)Count));
    }

    /// <summary>Shape and elements as System.Numerics.Tensors sees them, without copying; host tensors only.</summary>
    public ReadOnlyTensorSpan<T> AsReadOnlyTensorSpan<T>() where T : unmanaged => AsTensorSpan<T>();

    /// <summary>Shape and elements as System.Numerics.Tensors sees them, writable and without copying; host tensors only.</summary>
    public TensorSpan<T> AsTensorSpan<T>() where T : unmanaged
    {
        Span<nint> lengths = stackalloc nint[Rank];
        for (int i = 0; i < Rank; i++) lengths[i] = this[i];
        return new TensorSpan<T>(Span<T>(), lengths);
    }

    internal void SetShape(ReadOnlySpan<int> shape)
    {
        if (shape.Length is < 1 or > 4) throw new ArgumentException("A tensor has 1 to 4 dimensions.", nameof(shape));
        Rank = shape.Length;
        _d0 = shape[0];
        _d1 = shape.Length > 1 ? shape[1] : 0;
        _d2 = shape.Length > 2 ? shape[2] : 0;
        _d3 = shape.Length > 3 ? shape[3] : 0;
        long count = 1;
        foreach (int d in shape) count *= d;
        Count = count;
    }

    private long LeadingProduct()
    {
        long product = 1;
        for (int i = 0; i < Rank - 1; i++) product *= this[i];
        return product;
    }
}
