namespace LoraNet.Tensors.Cpu;

/// <summary>Packs one panel of a frozen weight: [K][width] of consecutive output features, padded with zeros.</summary>
internal readonly unsafe struct WeightPacker(Weight weight, DType type, int width, void* destination) : IChunkAction
{
    public void Invoke(int chunk)
    {
        HostTensor source = weight.Source;
        int depth = weight.Columns, first = chunk * width, count = Math.Min(width, weight.Rows - first);
        nint at = (nint)chunk * width * depth;
        if (source.DType == type)
        {
            if (type == DType.F32) Pack((uint*)source.Address, (uint*)destination + at, first, count, depth);
            else Pack((ushort*)source.Address, (ushort*)destination + at, first, count, depth);
            return;
        }
        // Rare stored types are widened to binary32, a piece of a row at a time.
        float* target = (float*)destination + at;
        new Span<float>(target, width * depth).Clear();
        Span<float> one = stackalloc float[256];
        if (weight.Transposed)
        {
            for (int k = 0; k < depth; k++) source.Read((long)k * weight.Rows + first, new Span<float>(target + (nint)k * width, count));
            return;
        }
        for (int n = 0; n < count; n++)
        {
            for (int k = 0; k < depth; k += one.Length)
            {
                Span<float> part = one[..Math.Min(one.Length, depth - k)];
                source.Read((long)(first + n) * depth + k, part);
                for (int j = 0; j < part.Length; j++) target[(nint)(k + j) * width + n] = part[j];
            }
        }
    }

    private void Pack<T>(T* source, T* target, int first, int count, int depth) where T : unmanaged
    {
        if (weight.Transposed)
        {
            for (int k = 0; k < depth; k++)
            {
                Span<T> row = new(target + (nint)k * width, width);
                new ReadOnlySpan<T>(source + (nint)k * weight.Rows + first, count).CopyTo(row);
                row[count..].Clear();
            }
            return;
        }
        // Blocks of 64 columns: the lines being written stay in the first-level cache while all rows add to them.
        for (int block = 0; block < depth; block += 64)
        {
            int end = Math.Min(depth, block + 64);
            for (int n = 0; n < count; n++)
            {
                T* row = source + (nint)(first + n) * depth;
                for (int k = block; k < end; k++) target[(nint)k * width + n] = row[k];
            }
            for (int n = count; n < width; n++)
            {
                for (int k = block; k < end; k++) target[(nint)k * width + n] = default;
            }
        }
    }
}
