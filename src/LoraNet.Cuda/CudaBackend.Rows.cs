using LoraNet.Cuda.Kernels;
using LoraNet.Tensors;

namespace LoraNet.Cuda;

/// <content>Pieces, lookups, embeddings and loss.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    public override void CopyColumns(Tensor x, int xColumn, Tensor y, int yColumn, int count, bool accumulate = false) =>
        LaunchRows(_kernels.CopyColumns.Get(x.DType, y.DType), x.Rows, Divide(count, 4), new RowArgs
        {
            X = x.Address,
            Y = y.Address,
            Rows = x.Rows,
            Columns = count,
            Accumulate = accumulate ? 1 : 0,
            XPitch = x.Columns,
            XColumn = xColumn,
            YPitch = y.Columns,
            YColumn = yColumn,
        });

    /// <inheritdoc/>
    public override void GatherRows(Tensor x, Tensor rows, Tensor y) =>
        Gather(x.Address, x.DType, rows, 1, y);

    /// <inheritdoc/>
    public override void Embedding(Weight w, Tensor ids, float scale, Tensor y)
    {
        DeviceWeight table = Device(w);
        Gather(table.Address, table.DType, ids, scale, y);
    }

    /// <inheritdoc/>
    public override void ScatterAddRows(Tensor x, Tensor rows, Tensor y)
    {
        int count = checked((int)rows.Count);
        if (count == 0 || x.Columns == 0) return;
        _kernels.ScatterAdd.Get(x.DType, y.DType).Launch(count, 1, Math.Min(256, _device.MaxGroup), new RowArgs
        {
            X = x.Address,
            V = rows.Address,
            Y = y.Address,
            Rows = count,
            Columns = x.Columns,
        });
    }

    /// <inheritdoc/>
    public override void CrossEntropy(Tensor logits, Tensor targets, float gradScale, float softCap, Tensor loss, Tensor? dLogits)
    {
        RequireF32(loss);
        // With a gradient fewer, larger groups: so few rows are then under way that the second pass finds them in the level-2 cache.
        LaunchGroupPerRow(_kernels.CrossEntropy.Get(logits.DType, dLogits?.DType ?? logits.DType), logits.Rows, logits.Columns, new CrossEntropyArgs
        {
            Logits = logits.Address,
            Targets = targets.Address,
            Loss = loss.Address,
            DLogits = dLogits?.Address ?? 0,
            Columns = logits.Columns,
            GradScale = gradScale,
            GradScaleAddress = GradScaleAddress(gradScale),
            SoftCap = softCap,
        }, CrossEntropyGroup ?? (dLogits is null ? 256 : 512));
    }

    /// <summary>Threads for a row of logits, or null for the best known; a setting only so that it can be measured.</summary>
    internal int? CrossEntropyGroup { get; set; }

    private void Gather(nint table, DType tableType, Tensor rows, float scale, Tensor y)
    {
        int count = checked((int)rows.Count);
        LaunchRows(_kernels.Gather.Get(tableType, y.DType), count, Divide(y.Columns, 4), new RowArgs
        {
            X = table,
            V = rows.Address,
            Y = y.Address,
            Rows = count,
            Columns = y.Columns,
            Alpha = scale,
        });
    }
}
