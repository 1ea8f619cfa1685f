using System.Runtime.InteropServices;

namespace LoraNet.Tensors;

public abstract partial class Backend
{
    /// <summary>Memory that a run may use, what this backend holds already included.</summary>
    public virtual long AvailableBytes => GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;

    /// <summary>A tensor outside any arena that lives until <see cref="Free"/>: parameters, moments, tables. Undefined contents.</summary>
    public Tensor Create(DType dtype, params ReadOnlySpan<int> shape)
    {
        Tensor tensor = new() { Backend = this, DType = dtype };
        tensor.SetShape(shape);
        tensor.Address = AllocateMemory(Math.Max(1, tensor.Bytes));
        return tensor;
    }

    /// <summary>A persistent parameter-type tensor with these values.</summary>
    public Tensor Create(ReadOnlySpan<float> values, params ReadOnlySpan<int> shape)
    {
        Tensor tensor = Create(ParameterType, shape);
        Upload(values, tensor);
        return tensor;
    }

    /// <summary>A persistent I32 tensor with these values.</summary>
    public Tensor CreateIndex(ReadOnlySpan<int> values)
    {
        Tensor tensor = Create(DType.I32, values.Length);
        UploadBytes(MemoryMarshal.AsBytes(values), tensor);
        return tensor;
    }

    /// <summary>Entries [first, first + count) of the leading dimension of a tensor outside any arena, over the same memory; not to be freed.</summary>
    public Tensor Slice(Tensor tensor, int first, int count)
    {
        if (first < 0 || count < 0 || first + (long)count > tensor[0]) throw new ArgumentOutOfRangeException(nameof(first));
        int[] shape = tensor.GetShape();
        long stride = tensor[0] == 0 ? 0 : tensor.Count / tensor[0];
        shape[0] = count;
        Tensor slice = new() { Backend = this, DType = tensor.DType };
        slice.SetShape(shape);
        slice.Address = tensor.Address + (nint)(first * stride * tensor.DType.Size());
        return slice;
    }

    /// <summary>Frees a tensor made by <see cref="Create(DType, ReadOnlySpan{int})"/>.</summary>
    public void Free(Tensor tensor)
    {
        if (tensor.Home is not null || tensor.Address == 0) return;
        FreeMemory(tensor.Address);
        tensor.Address = 0;
    }

    /// <summary>Copies host values into a floating-point tensor, rounding to its type.</summary>
    public unsafe void Upload(ReadOnlySpan<float> values, Tensor destination)
    {
        if (values.Length != destination.Count) throw new ArgumentException($"{values.Length} values for {destination.ShapeText}.");
        if (destination.DType == DType.F32)
        {
            UploadBytes(MemoryMarshal.AsBytes(values), destination);
            return;
        }
        byte[] bytes = new byte[destination.Bytes];
        fixed (byte* p = bytes) HostConvert.FromSingle(values, destination.DType, p);
        UploadBytes(bytes, destination);
    }

    /// <summary>Copies a tensor to the host, converted to binary32.</summary>
    public unsafe void Download(Tensor source, Span<float> values)
    {
        if (values.Length != source.Count) throw new ArgumentException($"{values.Length} values for {source.ShapeText}.");
        if (source.DType == DType.F32)
        {
            DownloadBytes(source, MemoryMarshal.AsBytes(values));
            return;
        }
        byte[] bytes = new byte[source.Bytes];
        DownloadBytes(source, bytes);
        fixed (byte* p = bytes) HostConvert.ToSingle(p, source.DType, values);
    }

    /// <summary>All elements as a new array, converted to binary32.</summary>
    public float[] Download(Tensor source)
    {
        float[] values = new float[source.Count];
        Download(source, values);
        return values;
    }
}
