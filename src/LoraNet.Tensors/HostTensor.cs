namespace LoraNet.Tensors;

/// <summary>
/// A read-only view of row-major elements in host memory, in the type they are stored in: usually a region of a
/// memory-mapped safetensors file. It owns nothing; <see cref="Owner"/> keeps the memory alive.
/// </summary>
public sealed unsafe class HostTensor
{
    private readonly int[] _shape;

    /// <summary>Wraps memory that stays valid as long as <paramref name="owner"/> is reachable and not disposed.</summary>
    /// <param name="address">Address of the first element.</param>
    /// <param name="dtype">Stored element type.</param>
    /// <param name="shape">Dimensions; empty for a scalar.</param>
    /// <param name="owner">The object that owns the memory, or null for memory that is never freed.</param>
    public HostTensor(nint address, DType dtype, ReadOnlySpan<int> shape, object? owner)
    {
        Address = address;
        DType = dtype;
        Owner = owner;
        _shape = shape.ToArray();
        long count = 1;
        foreach (int d in _shape) count *= d;
        Count = count;
    }

    /// <summary>Address of the first element.</summary>
    public nint Address { get; }

    /// <summary>Stored element type.</summary>
    public DType DType { get; }

    /// <summary>The object that keeps the memory valid.</summary>
    public object? Owner { get; }

    /// <summary>Number of elements.</summary>
    public long Count { get; }

    /// <summary>Dimensions, outermost first.</summary>
    public ReadOnlySpan<int> Shape => _shape;

    /// <summary>The stored bytes. Throws <see cref="OverflowException"/> beyond 2 GiB.</summary>
    public ReadOnlySpan<byte> Bytes => new((void*)Address, checked((int)(Count * DType.Size())));

    /// <summary>Copies an array into new memory that lives as long as the result.</summary>
    public static HostTensor Copy(ReadOnlySpan<float> values, params ReadOnlySpan<int> shape)
    {
        float[] array = GC.AllocateUninitializedArray<float>(Math.Max(1, values.Length), pinned: true);
        values.CopyTo(array);
        return new HostTensor((nint)System.Runtime.CompilerServices.Unsafe.AsPointer(ref array[0]), DType.F32, shape, array);
    }

    /// <summary>Copies values, rounded to a type, into new memory that lives as long as the result.</summary>
    public static HostTensor Copy(ReadOnlySpan<float> values, DType dtype, params ReadOnlySpan<int> shape)
    {
        if (dtype == DType.F32) return Copy(values, shape);
        byte[] array = GC.AllocateUninitializedArray<byte>(Math.Max(1, checked(values.Length * dtype.Size())), pinned: true);
        byte* address = (byte*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref array[0]);
        HostConvert.FromSingle(values, dtype, address);
        return new HostTensor((nint)address, dtype, shape, array);
    }

    /// <summary>Copies an array of doubles into new memory that lives as long as the result.</summary>
    public static HostTensor Copy(ReadOnlySpan<double> values, params ReadOnlySpan<int> shape)
    {
        double[] array = GC.AllocateUninitializedArray<double>(Math.Max(1, values.Length), pinned: true);
        values.CopyTo(array);
        return new HostTensor((nint)System.Runtime.CompilerServices.Unsafe.AsPointer(ref array[0]), DType.F64, shape, array);
    }

    /// <summary>Reads <c>destination.Length</c> elements from <paramref name="start"/> on, converted to binary32.</summary>
    /// <exception cref="LoraNetException">The tensor does not hold numbers.</exception>
    public void Read(long start, Span<float> destination)
    {
        if (start < 0 || start + destination.Length > Count) throw new ArgumentOutOfRangeException(nameof(start));
        HostConvert.ToSingle((byte*)Address + start * DType.Size(), DType, destination);
    }

    /// <summary>All elements as binary32.</summary>
    public float[] ToArray()
    {
        float[] values = GC.AllocateUninitializedArray<float>(checked((int)Count));
        Read(0, values);
        return values;
    }
}
