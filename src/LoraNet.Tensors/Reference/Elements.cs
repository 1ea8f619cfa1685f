namespace LoraNet.Tensors.Reference;

/// <summary>Elements of any supported type as double, and back rounded once to nearest even.</summary>
internal static unsafe class Elements
{
    /// <summary>All elements of a tensor.</summary>
    public static double[] Read(Tensor tensor) => Read((void*)tensor.Address, tensor.DType, tensor.Count);

    /// <summary>The elements that an output starts from: its own when accumulating, else zeros whatever it holds.</summary>
    public static double[] Start(Tensor tensor, bool accumulate) => accumulate ? Read(tensor) : new double[tensor.Count];

    /// <summary>All elements of an I32 tensor: ids, positions, row numbers.</summary>
    public static int[] ReadIndices(Tensor tensor)
    {
        if (tensor.DType != DType.I32) throw new ArgumentException($"An I32 tensor was expected, not {tensor.DType}.");
        return new ReadOnlySpan<int>((void*)tensor.Address, checked((int)tensor.Count)).ToArray();
    }

    /// <summary>Elements of host memory.</summary>
    public static double[] Read(void* source, DType dtype, long count)
    {
        double[] values = new double[count];
        for (long i = 0; i < count; i++)
        {
            values[i] = dtype switch
            {
                DType.F32 => ((float*)source)[i],
                DType.F64 => ((double*)source)[i],
                DType.BF16 => BFloat16.ToSingle(((ushort*)source)[i]),
                DType.F16 => (double)((Half*)source)[i],
                DType.I32 => ((int*)source)[i],
                DType.I8 => ((sbyte*)source)[i],
                DType.U8 => ((byte*)source)[i],
                _ => throw new ArgumentException($"The reference backend does not compute with {dtype}."),
            };
        }
        return values;
    }

    /// <summary>Writes all elements of a tensor.</summary>
    public static void Write(double[] values, Tensor tensor)
    {
        if (values.LongLength != tensor.Count) throw new ArgumentException($"{values.LongLength} values for {tensor.ShapeText}.");
        void* destination = (void*)tensor.Address;
        for (long i = 0; i < values.LongLength; i++)
        {
            switch (tensor.DType)
            {
                case DType.F32: ((float*)destination)[i] = (float)values[i]; break;
                case DType.F64: ((double*)destination)[i] = values[i]; break;
                case DType.BF16: ((ushort*)destination)[i] = BFloat16.FromSingle(ToOdd(values[i])); break;
                case DType.F16: ((Half*)destination)[i] = (Half)values[i]; break;
                case DType.I32: ((int*)destination)[i] = (int)Math.Round(values[i]); break;
                default: throw new ArgumentException($"The reference backend does not write {tensor.DType}.");
            }
        }
    }

    /// <summary>Rounds to binary32 with a sticky last bit ("round to odd"), so that rounding the result again to a shorter
    /// type is the same as rounding the double once (Boldo &amp; Melquiond, 2008).</summary>
    private static float ToOdd(double value)
    {
        float nearest = (float)value;
        if (nearest == value || double.IsNaN(value)) return nearest;
        uint bits = BitConverter.SingleToUInt32Bits(nearest);
        if (Math.Abs((double)nearest) > Math.Abs(value)) bits--;
        return BitConverter.UInt32BitsToSingle(bits | 1);
    }
}
