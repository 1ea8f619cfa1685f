using LoraNet.Tensors.Reference;
using Use = LoraNet.Tensors.Cpu.ThreadScratch.Use;

namespace LoraNet.Tensors.Cpu;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    public override void Prepare(Weight weight) => Form(weight);

    /// <inheritdoc/>
    public override void Drop(Weight weight)
    {
        lock (weight)
        {
            if (weight.Prepared is not PackedWeight form || form.Owner != this) return;
            weight.Prepared = null;
            if (form.Panels) FreeMemory(form.Address);
        }
    }

    private PackedWeight Form(Weight weight)
    {
        if (weight.Prepared is PackedWeight form && form.Owner == this) return form;
        lock (weight)
        {
            if (weight.Prepared is PackedWeight other && other.Owner == this) return other;
            PackedWeight made = MakeForm(weight);
            weight.Prepared = made;
            return made;
        }
    }

    private PackedWeight MakeForm(Weight weight)
    {
        DType stored = weight.Source.DType;
        bool kept = stored is DType.F32 or DType.BF16 or DType.F16;
        if (LowMemory && kept) return new PackedWeight(this, weight.Source.Address, stored, panels: false);
        DType type = kept ? stored : DType.F32;
        int width = _kernels.PanelWidth, panels = (weight.Rows + width - 1) / width;
        nint address = AllocateMemory(Math.Max(1L, (long)panels * width * weight.Columns * type.Size()));
        WeightPacker packer = new(weight, type, width, (void*)address);
        _pool.Run(panels, ref packer);
        (weight.Source.Owner as IPageOwner)?.Forget(weight.Source.Address, weight.Source.Count * stored.Size());
        GC.KeepAlive(weight.Source.Owner);
        return new PackedWeight(this, address, type, panels: true);
    }

    /// <inheritdoc/>
    public override void RowSquaredNorms(Weight w, Tensor norms)
    {
        Require.Count(norms, w.Rows);
        float* result = Write(norms, Use.Operand0);
        int rows = w.Source.Shape[0], columns = w.Source.Shape[1];
        float* row = ThreadScratch.Floats(Use.Operand1, columns);
        double* totals = (double*)ThreadScratch.Bytes(Use.Partials, sizeof(double) * (long)Math.Max(1, w.Rows));
        new Span<double>(totals, w.Rows).Clear();
        for (int i = 0; i < rows; i++)
        {
            w.Source.Read((long)i * columns, new Span<float>(row, columns));
            if (w.Transposed)
            {
                for (int j = 0; j < columns; j++) totals[j] += (double)row[j] * row[j];
            }
            else
            {
                double total = 0;
                for (int j = 0; j < columns; j++) total += (double)row[j] * row[j];
                totals[i] = total;
            }
        }
        for (int n = 0; n < w.Rows; n++) result[n] = (float)totals[n];
        GC.KeepAlive(w.Source.Owner);
        Finish(norms, result);
    }

    /// <inheritdoc/>
    public override void Embedding(Weight w, Tensor ids, float scale, Tensor y)
    {
        Require.Matrix(y, (int)ids.Count, w.Columns);
        int* index = Indices(ids);
        float* result = Write(y, Use.Operand0);
        // A head that shares the table has packed it: the original, often a mapped file, is then not read again.
        PackedWeight? packed = w.Prepared is PackedWeight { Panels: true } form && form.Owner == this ? form : null;
        for (int i = 0; i < ids.Count; i++)
        {
            Require.Index(index[i], w.Rows, nameof(ids));
            Span<float> row = new(result + (nint)i * w.Columns, w.Columns);
            if (packed is not null) PanelRow(packed, index[i], row);
            else if (w.Transposed)
            {
                for (int k = 0; k < row.Length; k++) w.Source.Read((long)k * w.Rows + index[i], row.Slice(k, 1));
            }
            else w.Source.Read((long)index[i] * w.Columns, row);
            if (scale != 1f) System.Numerics.Tensors.TensorPrimitives.Multiply(row, scale, row);
        }
        GC.KeepAlive(w.Source.Owner);
        Finish(y, result);
    }

    /// <summary>One row of a packed weight: a column of its panel, a line of memory apart.</summary>
    private void PanelRow(PackedWeight form, int index, Span<float> row)
    {
        int width = _kernels.PanelWidth;
        nint start = (nint)(index / width) * width * row.Length + index % width;
        switch (form.Type)
        {
            case DType.F32:
                float* single = (float*)form.Address + start;
                for (int k = 0; k < row.Length; k++) row[k] = single[(nint)k * width];
                break;
            case DType.BF16:
                ushort* narrow = (ushort*)form.Address + start;
                for (int k = 0; k < row.Length; k++) row[k] = BFloat16.ToSingle(narrow[(nint)k * width]);
                break;
            default:
                ushort* half = (ushort*)form.Address + start;
                for (int k = 0; k < row.Length; k++) row[k] = (float)BitConverter.UInt16BitsToHalf(half[(nint)k * width]);
                break;
        }
    }
}
