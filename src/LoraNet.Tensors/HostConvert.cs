using System.Numerics.Tensors;
using System.Runtime.CompilerServices;

namespace LoraNet.Tensors;

/// <summary>Conversions of host memory between the stored types and binary32, each value rounded once to nearest even.</summary>
public static unsafe class HostConvert
{
    /// <summary>destination[i] = (float)source[i].</summary>
    public static void ToSingle(void* source, DType dtype, Span<float> destination)
    {
        int n = destination.Length;
        switch (dtype)
        {
            case DType.F32: new ReadOnlySpan<float>(source, n).CopyTo(destination); break;
            case DType.BF16: Widen(new ReadOnlySpan<ushort>(source, n), destination); break;
            case DType.F16: TensorPrimitives.ConvertToSingle(new ReadOnlySpan<Half>(source, n), destination); break;
            case DType.F64: TensorPrimitives.ConvertTruncating(new ReadOnlySpan<double>(source, n), destination); break;
            case DType.I64: TensorPrimitives.ConvertTruncating(new ReadOnlySpan<long>(source, n), destination); break;
            case DType.I32: TensorPrimitives.ConvertTruncating(new ReadOnlySpan<int>(source, n), destination); break;
            case DType.I16: TensorPrimitives.ConvertTruncating(new ReadOnlySpan<short>(source, n), destination); break;
            case DType.I8: TensorPrimitives.ConvertTruncating(new ReadOnlySpan<sbyte>(source, n), destination); break;
            case DType.U8 or DType.Bool: TensorPrimitives.ConvertTruncating(new ReadOnlySpan<byte>(source, n), destination); break;
            case DType.U16: TensorPrimitives.ConvertTruncating(new ReadOnlySpan<ushort>(source, n), destination); break;
            case DType.U32: TensorPrimitives.ConvertTruncating(new ReadOnlySpan<uint>(source, n), destination); break;
            case DType.U64: TensorPrimitives.ConvertTruncating(new ReadOnlySpan<ulong>(source, n), destination); break;
            default: throw new ArgumentOutOfRangeException(nameof(dtype));
        }
    }

    /// <summary>destination[i] = round(source[i]) in a floating-point type.</summary>
    public static void FromSingle(ReadOnlySpan<float> source, DType dtype, void* destination)
    {
        int n = source.Length;
        switch (dtype)
        {
            case DType.F32: source.CopyTo(new Span<float>(destination, n)); break;
            case DType.BF16: Narrow(source, new Span<ushort>(destination, n)); break;
            case DType.F16: TensorPrimitives.ConvertToHalf(source, new Span<Half>(destination, n)); break;
            case DType.F64: TensorPrimitives.ConvertTruncating(source, new Span<double>(destination, n)); break;
            default: throw new ArgumentOutOfRangeException(nameof(dtype), dtype, "not a floating-point type");
        }
    }

    /// <summary>Widens bfloat16 bits; exact.</summary>
    public static void Widen(ReadOnlySpan<ushort> source, Span<float> destination)
    {
        for (int i = 0; i < source.Length; i++) destination[i] = BFloat16.ToSingle(source[i]);
    }

    /// <summary>Rounds to bfloat16 bits, ties to even.</summary>
    public static void Narrow(ReadOnlySpan<float> source, Span<ushort> destination)
    {
        for (int i = 0; i < source.Length; i++) destination[i] = BFloat16.FromSingle(source[i]);
    }
}
