using LoraNet.Tensors;

namespace LoraNet.CudaCheck;

/// <summary>One product on random values that BF16 holds exactly, the same on every backend: y = x Wᵀ (NT) and dx = dy W (NN) with a stored
/// weight, perhaps with a low-rank update, or aᵀ b (TN).</summary>
internal sealed class ShapeProduct : IDisposable
{
    private readonly Backend _backend;
    private readonly Arena _arena;
    private readonly MatMulKind _kind;
    private readonly Tensor _a, _c;
    private readonly Tensor? _b;
    private readonly Weight? _weight;
    private readonly LowRank? _lowRank;

    public ShapeProduct(Backend backend, MatMulKind kind, int m, int n, int k, int rank, DType stored, DType result)
    {
        (_backend, _arena, _kind) = (backend, new Arena(backend), kind);
        _a = Upload(backend.ComputeType, 1, 1, kind == MatMulKind.TN ? [k, m] : [m, k]);
        if (kind == MatMulKind.TN) _b = Upload(backend.ComputeType, 2, 1, [k, n]);
        else
        {
            (int rows, int columns) = kind == MatMulKind.NT ? (n, k) : (k, n);
            _weight = new Weight("w", HostTensor.Copy(Values((long)rows * columns, 2, 1), stored, rows, columns));
            backend.Prepare(_weight);
        }
        // What LoRA keeps in F32 is rounded beside 16-bit activations.
        if (rank > 0) _lowRank = new LowRank(Upload(backend.ComputeType, 3, 1, [m, rank]), Upload(DType.F32, 4, 4, kind == MatMulKind.NT ? [n, rank] : [rank, n]));
        _c = _arena.Rent(result, m, n);
    }

    public void Run()
    {
        if (_kind == MatMulKind.NT) _backend.Linear(_a, _weight!, null, _lowRank, _c);
        else if (_kind == MatMulKind.NN) _backend.LinearBackwardInput(_a, _weight!, _lowRank, _c);
        else _backend.MatMul(MatMulKind.TN, _a, _b!, _c);
    }

    public float[] Result() => _backend.Download(_c);

    public void Dispose()
    {
        _backend.Synchronize();
        if (_weight is not null) _backend.Drop(_weight);
        _arena.Dispose();
    }

    private Tensor Upload(DType type, int seed, float scale, int[] shape)
    {
        Tensor t = _arena.Rent(type, shape);
        _backend.Upload(Values(t.Count, seed, scale), t);
        return t;
    }

    /// <summary>About normal, of eight significant bits.</summary>
    private static float[] Values(long count, int seed, float scale)
    {
        const int Made = 1 << 20;
        Random random = new(seed);
        float[] made = new float[Math.Min(count, Made)], values = new float[count];
        for (int i = 0; i < made.Length; i++)
        {
            double sum = -6;
            for (int j = 0; j < 12; j++) sum += random.NextDouble();
            made[i] = BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits((float)sum * scale) & 0xffff0000);
        }
        // The rest repeats it, shifted by one at each turn.
        for (long i = 0; i < count; i++) values[i] = made[(i + i / made.Length) % made.Length];
        return values;
    }
}
