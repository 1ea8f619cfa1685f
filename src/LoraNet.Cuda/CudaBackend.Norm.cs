using LoraNet.Cuda.Kernels;
using LoraNet.Cuda.Runtime;
using LoraNet.Tensors;

namespace LoraNet.Cuda;

/// <content>Normalisation and sums.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    public override void AddRmsNorm(Tensor a, Tensor b, Tensor w, float eps, float offset, Tensor sum, Tensor y, Tensor rstd)
    {
        // The kernel has one type for the three.
        if (a.DType != b.DType || a.DType != sum.DType) base.AddRmsNorm(a, b, w, eps, offset, sum, y, rstd);
        else RmsNorm(a, b, sum, w, eps, offset, y, rstd);
    }

    /// <inheritdoc/>
    public override void RmsNorm(Tensor x, Tensor w, float eps, float offset, Tensor y, Tensor rstd) => RmsNorm(x, null, null, w, eps, offset, y, rstd);

    private void RmsNorm(Tensor x, Tensor? residual, Tensor? sum, Tensor w, float eps, float offset, Tensor y, Tensor rstd)
    {
        RequireF32(rstd);
        LaunchGroupPerRow(_kernels.RmsNorm.Get(x.DType, y.DType), x.Rows, x.Columns, new NormArgs
        {
            X = x.Address,
            Residual = residual?.Address ?? 0,
            Sum = sum?.Address ?? 0,
            W = w.Address,
            WKind = StorageTypes.Kind(w.DType),
            Y = y.Address,
            Rstd = rstd.Address,
            Columns = x.Columns,
            Eps = eps,
            Offset = offset,
        }, 1024, each: 8);
    }

    /// <inheritdoc/>
    public override void RmsNormBackward(Tensor dy, Tensor x, Tensor w, float offset, Tensor rstd, Tensor dx, bool accumulate, Tensor? dw)
    {
        RequireF32(rstd);
        // First, because dx may overwrite dy.
        if (dw is not null) ColumnSums(dy, x, null, rstd, 1, dw, true);
        LaunchGroupPerRow(_kernels.RmsNormBackward.Get(dy.DType, x.DType, dx.DType), x.Rows, x.Columns, new NormArgs
        {
            Dy = dy.Address,
            X = x.Address,
            W = w.Address,
            WKind = StorageTypes.Kind(w.DType),
            Y = dx.Address,
            Rstd = rstd.Address,
            Columns = x.Columns,
            Offset = offset,
            Accumulate = accumulate ? 1 : 0,
        }, 1024, each: 8);
    }

    /// <inheritdoc/>
    public override void LayerNorm(Tensor x, Tensor w, Tensor? b, float eps, Tensor y, Tensor mean, Tensor rstd)
    {
        RequireF32(mean, rstd);
        LaunchGroupPerRow(_kernels.LayerNorm.Get(x.DType, y.DType), x.Rows, x.Columns, new NormArgs
        {
            X = x.Address,
            W = w.Address,
            WKind = StorageTypes.Kind(w.DType),
            B = b?.Address ?? 0,
            BKind = StorageTypes.Kind(b?.DType ?? DType.F32),
            Y = y.Address,
            Mean = mean.Address,
            Rstd = rstd.Address,
            Columns = x.Columns,
            Eps = eps,
        });
    }

    /// <inheritdoc/>
    public override void LayerNormBackward(Tensor dy, Tensor x, Tensor w, Tensor mean, Tensor rstd, Tensor dx, bool accumulate, Tensor? dw, Tensor? db)
    {
        RequireF32(mean, rstd);
        if (dw is not null) ColumnSums(dy, x, mean, rstd, 1, dw, true);
        if (db is not null) ColumnSums(dy, null, null, null, 1, db, true);
        LaunchGroupPerRow(_kernels.LayerNormBackward.Get(dy.DType, x.DType, dx.DType), x.Rows, x.Columns, new NormArgs
        {
            Dy = dy.Address,
            X = x.Address,
            W = w.Address,
            WKind = StorageTypes.Kind(w.DType),
            Y = dx.Address,
            Mean = mean.Address,
            Rstd = rstd.Address,
            Columns = x.Columns,
            Accumulate = accumulate ? 1 : 0,
        });
    }

    /// <inheritdoc/>
    public override void ColumnSum(Tensor x, Tensor? other, float alpha, Tensor sum, bool accumulate) =>
        ColumnSums(x, other, null, null, alpha, sum, accumulate);

    /// <inheritdoc/>
    public override void Sum(Tensor x, Tensor sum, bool accumulate = false)
    {
        RequireF32(sum);
        int group = _device.PreferredGroup;
        int groups = (int)Math.Clamp(Divide(Divide(x.Count, 4), group), 1, Math.Min(1024, _device.ManyGroups));
        ReduceArgs args = new()
        {
            X = x.Address,
            Count = x.Count,
            Partial = Scratch(8L * groups),
            Chunks = groups,
            Result = sum.Address,
            Accumulate = accumulate ? 1 : 0,
        };
        _kernels.Total.Get(x.DType).Launch(groups, 1, group, args);
        _kernels.TotalFinish.Get().Launch(1, 1, group, args);
    }

    /// <summary>sum[n] (+)= alpha·Σₘ x[m,n] (·(other[m,n] − mean[m])·rowScale[m]).</summary>
    private void ColumnSums(Tensor x, Tensor? other, Tensor? mean, Tensor? rowScale, float alpha, Tensor sum, bool accumulate) =>
        ColumnSums(x.Address, x.DType, x.Rows, x.Columns, other?.Address ?? 0, other?.DType ?? x.DType, mean, rowScale, alpha, sum, accumulate);

    private void ColumnSums(
        nint x, DType xType, int rows, int columns, nint other, DType otherType, Tensor? mean, Tensor? rowScale, float alpha, Tensor sum, bool accumulate)
    {
        RequireF32(sum);
        if (columns == 0) return;
        // The number of chunks depends on the shape alone, so that the result does too.
        int chunks = (int)Math.Clamp(Divide(rows, 32), 1, 256), chunkRows = (int)Math.Max(1, Divide(rows, chunks));
        ReduceArgs args = new()
        {
            X = x,
            Other = other,
            Mean = mean?.Address ?? 0,
            RowScale = rowScale?.Address ?? 0,
            Partial = Scratch(4L * chunks * columns),
            Result = sum.Address,
            Rows = rows,
            Columns = columns,
            ChunkRows = chunkRows,
            Chunks = chunks,
            Alpha = alpha,
            Accumulate = accumulate ? 1 : 0,
        };
        long packs = Divide(columns, 4);
        int group = RoundToWarp(packs, Math.Min(128, _device.MaxGroup));
        _kernels.ColumnSums.Get(xType, otherType).Launch((int)Math.Min(Divide(packs, group), _device.ManyGroups), chunks, group, args);
        LaunchThreads(_kernels.ColumnSumsFinish.Get(), columns, args);
    }
}
