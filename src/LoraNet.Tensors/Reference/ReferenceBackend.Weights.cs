namespace LoraNet.Tensors.Reference;

public sealed partial class ReferenceBackend
{
    /// <summary>The form this backend keeps: w[N,K] in double, whatever type and orientation is stored.</summary>
    private sealed record WeightForm(ReferenceBackend Owner, double[] Values);

    /// <inheritdoc/>
    public override void Prepare(Weight weight) => Form(weight);

    /// <inheritdoc/>
    public override void Drop(Weight weight)
    {
        if (weight.Prepared is WeightForm form && form.Owner == this) weight.Prepared = null;
    }

    /// <inheritdoc/>
    public override void RowSquaredNorms(Weight w, Tensor norms)
    {
        Require.Count(norms, w.Rows);
        double[] weights = Form(w);
        double[] result = new double[w.Rows];
        for (int n = 0; n < w.Rows; n++)
        {
            for (int k = 0; k < w.Columns; k++)
            {
                double value = weights[(long)n * w.Columns + k];
                result[n] += value * value;
            }
        }
        Elements.Write(result, norms);
    }

    /// <inheritdoc/>
    public override void Embedding(Weight w, Tensor ids, float scale, Tensor y)
    {
        Require.Matrix(y, (int)ids.Count, w.Columns);
        double[] weights = Form(w);
        int[] rows = Elements.ReadIndices(ids);
        double[] result = new double[y.Count];
        for (int i = 0; i < rows.Length; i++)
        {
            Require.Index(rows[i], w.Rows, nameof(ids));
            for (int k = 0; k < w.Columns; k++) result[(long)i * w.Columns + k] = scale * weights[(long)rows[i] * w.Columns + k];
        }
        Elements.Write(result, y);
    }

    private unsafe double[] Form(Weight weight)
    {
        if (weight.Prepared is WeightForm form && form.Owner == this) return form.Values;
        double[] values = Elements.Read((void*)weight.Source.Address, weight.Source.DType, weight.Source.Count);
        GC.KeepAlive(weight.Source.Owner);
        if (weight.Transposed)
        {
            double[] stored = values;
            values = new double[stored.LongLength];
            for (long n = 0; n < weight.Rows; n++)
                for (long k = 0; k < weight.Columns; k++)
                    values[n * weight.Columns + k] = stored[k * weight.Rows + n];
        }
        weight.Prepared = new WeightForm(this, values);
        return values;
    }
}
