namespace LoraNet.Tensors.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public override void Rope(Tensor x, Tensor cos, Tensor sin, Tensor positions, int headSize, bool inverse, Tensor y)
    {
        int m = x.Rows, columns = x.Columns, half = cos.Columns;
        if (headSize <= 0 || columns % headSize != 0) throw new ArgumentException($"{columns} columns are not heads of {headSize}.", nameof(headSize));
        if (2 * half > headSize) throw new ArgumentException($"{2 * half} rotated elements in a head of {headSize}.", nameof(cos));
        Require.Same(sin, cos);
        Require.Count(positions, m);
        Require.Same(y, x);
        double[] xs = Elements.Read(x), cosines = Elements.Read(cos), sines = Elements.Read(sin);
        int[] rows = Elements.ReadIndices(positions);
        double[] ys = (double[])xs.Clone();
        for (long i = 0; i < m; i++)
        {
            Require.Index(rows[i], cos.Rows, nameof(positions));
            for (long head = i * columns; head < (i + 1) * columns; head += headSize)
            {
                for (int j = 0; j < half; j++)
                {
                    double c = cosines[(long)rows[i] * half + j];
                    double s = inverse ? -sines[(long)rows[i] * half + j] : sines[(long)rows[i] * half + j];
                    double first = xs[head + j], second = xs[head + half + j];
                    ys[head + j] = first * c - second * s;
                    ys[head + half + j] = second * c + first * s;
                }
            }
        }
        Elements.Write(ys, y);
    }
}
