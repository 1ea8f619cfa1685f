using LoraNet.Cuda.Kernels;
using LoraNet.Cuda.Runtime;
using LoraNet.Tensors;

namespace LoraNet.Cuda;

/// <summary>The device copy of a frozen matrix, [out, in] whatever way the file stores it.</summary>
internal sealed record DeviceWeight(CudaBackend Owner, nint Address, DType DType);

/// <content>Device copies of frozen weights.</content>
public sealed partial class CudaBackend
{
    private const int UploadChunkBytes = 32 << 20;
    private readonly Queue<(Weight Weight, nint Address, DType Target)> _waiting = [];

    /// <inheritdoc/>
    public override void Prepare(Weight weight)
    {
        if (weight.Prepared is DeviceWeight ready && ready.Owner == this) return;
        DType stored = weight.Source.DType, target = StoredOnDevice(stored);
        nint address = AllocateMemory(weight.Source.Count * target.Size());
        try
        {
            // A rehearsal goes on to the next kernel first: the compilers work while weights go up.
            if (_device.Mode == QueueMode.Rehearse) _waiting.Enqueue((weight, address, target));
            else ForReal(() => UploadWeight(weight, address, target));
        }
        catch
        {
            FreeMemory(address);
            throw;
        }
        weight.Prepared = new DeviceWeight(this, address, target);
    }

    /// <summary>Uploads the weights that a rehearsal came by.</summary>
    private void UploadWaiting()
    {
        while (_waiting.TryDequeue(out (Weight Weight, nint Address, DType Target) next))
        {
            _device.HostTouched = true;
            (Weight weight, nint address, DType target) = next;
            try
            {
                _device.In(QueueMode.Run, () => UploadWeight(weight, address, target));
            }
            catch
            {
                // Memory without contents must not pass for the weights: whoever goes on after the error needs them again.
                Drop(weight);
                while (_waiting.TryDequeue(out next)) Drop(next.Weight);
                throw;
            }
        }
    }

    private void UploadWeight(Weight weight, nint address, DType target)
    {
        if (weight.Transposed) UploadTransposed(weight, address, target);
        else UploadConverted(weight.Source, address, target);
    }

    /// <inheritdoc/>
    public override void Drop(Weight weight)
    {
        if (weight.Prepared is not DeviceWeight ready || ready.Owner != this) return;
        FreeMemory(ready.Address);
        weight.Prepared = null;
    }

    private DeviceWeight Device(Weight weight)
    {
        if (weight.Prepared is DeviceWeight ready && ready.Owner == this) return ready;
        Prepare(weight);
        return (DeviceWeight)weight.Prepared!;
    }

    /// <summary>16-bit computation wants its own 16-bit type; F32 computation reads 16-bit weights as they are, exact and half the size.</summary>
    private DType StoredOnDevice(DType stored) => stored switch
    {
        DType.BF16 or DType.F16 when _computeType == DType.F32 => stored,
        _ => _computeType,
    };

    /// <inheritdoc/>
    public override void RowSquaredNorms(Weight w, Tensor norms)
    {
        RequireF32(norms);
        ForReal(() => SquaredNorms(w, norms));
    }

    private void SquaredNorms(Weight w, Tensor norms)
    {
        if (Device(w) is { } matrix && matrix.DType == w.Source.DType)
        {
            RowSquares(matrix.Address, matrix.DType, w.Rows, w.Columns, norms.Address);
            return;
        }
        // The device copy is rounded; the norm is that of the stored matrix. This happens once, when an adapter is made.
        HostTensor source = w.Source;
        DType type = UploadType(source.DType);
        int rows = source.Shape[0], columns = source.Shape[1], step = Math.Max(1, UploadChunkBytes / 4 / Math.Max(1, columns));
        if (w.Transposed) Zero(norms);
        nint piece = AllocateMemory(4L * step * columns);
        try
        {
            for (int row = 0; row < rows; row += step)
            {
                int count = Math.Min(step, rows - row);
                UploadElements(source, (long)row * columns, count * columns, piece);
                if (w.Transposed) ColumnSums(piece, type, count, columns, piece, type, null, null, 1, norms, true);
                else RowSquares(piece, type, count, columns, norms.Address + 4 * row);
            }
        }
        finally
        {
            FreeMemory(piece);
        }
    }

    private void RowSquares(nint matrix, DType type, int rows, int columns, nint norms) =>
        LaunchGroupPerRow(_kernels.RowSquares.Get(type), rows, columns, new ReduceArgs { X = matrix, Result = norms, Columns = columns });

    /// <summary>Uploads row-major elements piece by piece, converted on the device where the types differ.</summary>
    private void UploadConverted(HostTensor source, nint address, DType target)
    {
        DType uploaded = UploadType(source.DType);
        int step = UploadChunkBytes / 4;
        nint staging = uploaded == target ? 0 : Scratch(Math.Min(UploadChunkBytes, source.Count * uploaded.Size()));
        for (long start = 0; start < source.Count; start += step)
        {
            int count = (int)Math.Min(step, source.Count - start);
            nint place = address + (nint)(start * target.Size());
            UploadElements(source, start, count, staging == 0 ? place : staging);
            if (staging != 0) ScaleInto(staging, uploaded, 1, place, target, count, false);
        }
    }

    /// <summary>Types that kernels read go up as they are stored, others as F32.</summary>
    private static DType UploadType(DType stored) => stored is DType.BF16 or DType.F16 ? stored : DType.F32;

    private unsafe void UploadElements(HostTensor source, long start, int count, nint address)
    {
        if (source.DType == UploadType(source.DType))
        {
            int size = source.DType.Size();
            _device.Upload(new ReadOnlySpan<byte>((byte*)source.Address + start * size, count * size), address);
        }
        else
        {
            float[] converted = new float[count];
            source.Read(start, converted);
            _device.Upload(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(converted), address);
        }
        GC.KeepAlive(source.Owner);
    }

    private void UploadTransposed(Weight weight, nint address, DType target)
    {
        HostTensor source = weight.Source;
        if (source.Count == 0) return;
        DType type = UploadType(source.DType);
        nint copy = AllocateMemory(source.Count * type.Size());
        try
        {
            UploadConverted(source, copy, type);
            // The stored matrix is [in, out].
            Transpose(copy, type, weight.Columns, weight.Rows, address, target);
            _device.Synchronize();
        }
        finally
        {
            FreeMemory(copy);
        }
    }

    /// <summary>y[columns, rows] = x[rows, columns]ᵀ.</summary>
    private void Transpose(nint x, DType xType, int rows, int columns, nint y, DType yType)
    {
        int side = _device.MaxGroup >= 1024 ? 32 : 2;
        long tiles = Divide(rows, side) * Divide(columns, side);
        if (tiles == 0) return;
        _kernels.Transpose.Get(xType, yType).Launch(checked((int)tiles), 1, side * side, new RowArgs { X = x, Y = y, Rows = rows, Columns = columns, XPitch = side });
    }
}
