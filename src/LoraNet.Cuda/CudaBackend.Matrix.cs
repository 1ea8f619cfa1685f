using LoraNet.Cuda.Kernels;
using LoraNet.Cuda.Runtime;
using LoraNet.Tensors;

namespace LoraNet.Cuda;

/// <content>Matrix products.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    public override void Linear(Tensor x, Weight w, Tensor? bias, LowRank? lowRank, Tensor y, bool accumulate = false)
    {
        Product product = LinearProduct(x, w, bias, y);
        int rank = lowRank?.Right.Columns ?? 0;
        RequireLowRank(lowRank, x.Rows, rank);
        Multiply(product with
        {
            Rank = rank,
            Left = Operand.Of(lowRank?.Left),
            Right = Operand.Of(lowRank?.Right),
            Accumulate = accumulate,
        });
    }

    /// <inheritdoc/>
    public override void LinearTogether(Tensor x, ReadOnlySpan<LinearPart> parts)
    {
        Product[] products = new Product[parts.Length];
        for (int i = 0; i < parts.Length; i++) products[i] = LinearProduct(x, parts[i].W, parts[i].Bias, parts[i].Y);
        if (MultiplyTogether(products)) return;
        foreach (Product product in products) Multiply(product);
    }

    /// <summary>y = x · wᵀ + bias.</summary>
    private Product LinearProduct(Tensor x, Weight w, Tensor? bias, Tensor y)
    {
        DeviceWeight matrix = Device(w);
        Require(x.Columns == w.Columns && y.Columns == w.Rows && x.Rows == y.Rows, $"{x.ShapeText} · [{w.Rows}, {w.Columns}]ᵀ → {y.ShapeText}");
        return new Product(MatMulKind.NT, x.Rows, w.Rows, w.Columns, Operand.Of(x), new(matrix.Address, matrix.DType), Operand.Of(y)) { Bias = Operand.Of(bias) };
    }

    /// <inheritdoc/>
    public override void LinearBackwardInput(Tensor dy, Weight w, LowRank? lowRank, Tensor dx, bool accumulate = false)
    {
        DeviceWeight matrix = Device(w);
        Require(dy.Columns == w.Rows && dx.Columns == w.Columns && dy.Rows == dx.Rows, $"{dy.ShapeText} · [{w.Rows}, {w.Columns}] → {dx.ShapeText}");
        int rank = lowRank?.Right.Rows ?? 0;
        RequireLowRank(lowRank, dy.Rows, rank);
        Multiply(new Product(MatMulKind.NN, dy.Rows, w.Columns, w.Rows, Operand.Of(dy), new(matrix.Address, matrix.DType), Operand.Of(dx))
        {
            Rank = rank,
            Left = Operand.Of(lowRank?.Left),
            Right = Operand.Of(lowRank?.Right),
            Accumulate = accumulate,
        });
    }

    /// <inheritdoc/>
    public override void MatMul(MatMulKind kind, Tensor a, Tensor b, Tensor c, float alpha = 1, bool accumulate = false, Tensor? bias = null)
    {
        int m = kind == MatMulKind.TN ? a.Columns : a.Rows, k = kind == MatMulKind.TN ? a.Rows : a.Columns;
        int n = kind == MatMulKind.NT ? b.Rows : b.Columns;
        Require((kind == MatMulKind.NT ? b.Columns : b.Rows) == k && c.Rows == m && c.Columns == n, $"{a.ShapeText} · {b.ShapeText} ({kind}) → {c.ShapeText}");
        Multiply(new Product(kind, m, n, k, Operand.Of(a), Operand.Of(b), Operand.Of(c)) { Bias = Operand.Of(bias), Alpha = alpha, Accumulate = accumulate });
    }

    /// <inheritdoc/>
    public override void DoraNorm(Tensor w2, Tensor c, Tensor b, Tensor g, float scale, Tensor norm)
    {
        RequireF32(norm);
        int rows = checked((int)norm.Count);
        LaunchThreads(_kernels.DoraNorm.Get(), rows, new DoraArgs
        {
            W2 = w2.Address,
            C = c.Address,
            B = b.Address,
            G = g.Address,
            Norm = norm.Address,
            W2Kind = StorageTypes.Kind(w2.DType),
            CKind = StorageTypes.Kind(c.DType),
            BKind = StorageTypes.Kind(b.DType),
            GKind = StorageTypes.Kind(g.DType),
            Rows = rows,
            Rank = b.Columns,
            Scale = scale,
        });
    }

    private void Multiply(in Product p)
    {
        if (p.M == 0 || p.N == 0 || MultiplyGenerated(p)) return;
        int side = _device.GemmSide, tilesN = (int)Divide(p.N, 4 * side);
        long tiles = Divide(p.M, 4 * side) * tilesN;
        _kernels.Gemm.Get(p.A.Type, p.B.Type, p.C.Type).Launch(checked((int)tiles), 1, side * side, new GemmArgs
        {
            A = p.A.Address,
            AM = p.Kind == MatMulKind.TN ? 1 : p.K,
            AK = p.Kind == MatMulKind.TN ? p.M : 1,
            B = p.B.Address,
            BN = p.Kind == MatMulKind.NT ? p.K : 1,
            BK = p.Kind == MatMulKind.NT ? 1 : p.N,
            Left = p.Left.Address,
            LeftKind = StorageTypes.Kind(p.Left.Type),
            Right = p.Right.Address,
            RightKind = StorageTypes.Kind(p.Right.Type),
            RightN = p.Kind == MatMulKind.NT ? p.Rank : 1,
            RightK = p.Kind == MatMulKind.NT ? 1 : p.N,
            Rank = p.Rank,
            Bias = p.Bias.Address,
            BiasKind = StorageTypes.Kind(p.Bias.Type),
            C = p.C.Address,
            M = p.M,
            N = p.N,
            K = p.K,
            Side = side,
            TilesN = tilesN,
            Accumulate = p.Accumulate ? 1 : 0,
            Alpha = p.Alpha,
        });
    }

    private static void RequireLowRank(LowRank? update, int rows, int rank)
    {
        if (update is { } u) Require(u.Left.Columns == rank && u.Left.Rows == rows, $"low rank {u.Left.ShapeText} · {u.Right.ShapeText}");
    }

    // The text is put together only when it is needed: this runs at every product.
    private static void Require(bool shapesFit, [System.Runtime.CompilerServices.InterpolatedStringHandlerArgument(nameof(shapesFit))] ref LazyText product)
    {
        if (!shapesFit) throw new ArgumentException($"The shapes of a matrix product do not fit: {product.ToString()}.");
    }
}
