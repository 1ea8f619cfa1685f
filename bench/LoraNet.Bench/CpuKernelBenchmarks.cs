using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using BenchmarkDotNet.Attributes;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using Tensor = LoraNet.Tensors.Tensor;

namespace LoraNet.Bench;

/// <summary>Shared operands of the CPU benchmarks.</summary>
public abstract class CpuBenchmarks
{
    private readonly Random _random = new(1);

    /// <summary>Threads of the backend.</summary>
    [Params(1, 0)]
    public int Threads { get; set; }

    protected CpuBackend Backend { get; private set; } = null!;

    [GlobalSetup]
    public void Setup()
    {
        Backend = new CpuBackend(new CpuBackendOptions { Threads = Threads });
        Prepare();
    }

    [GlobalCleanup]
    public void Cleanup() => Backend.Dispose();

    protected abstract void Prepare();

    protected Tensor New(params int[] shape) => Backend.Create(Values(shape.Aggregate(1, (x, y) => x * y)), shape);

    protected float[] Values(int count)
    {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) values[i] = (float)(_random.NextDouble() - 0.5);
        return values;
    }

    protected unsafe Weight NewWeight(int rows, int columns, DType type)
    {
        float[] values = Values(rows * columns);
        HostTensor source = HostTensor.Copy(values, rows, columns);
        if (type != DType.F32)
        {
            ushort[] narrow = GC.AllocateUninitializedArray<ushort>(values.Length, pinned: true);
            fixed (ushort* p = narrow) HostConvert.FromSingle(values, type, p);
            source = new HostTensor((nint)Unsafe.AsPointer(ref narrow[0]), type, [rows, columns], narrow);
        }
        Weight weight = new("w", source);
        Backend.Prepare(weight);
        return weight;
    }
}

/// <summary>Frozen products of a layer, with and without LoRA's second phase, and one of decoding; against a naive loop per dot product.</summary>
public class CpuLinearBenchmarks : CpuBenchmarks
{
    private Tensor _x = null!, _y = null!, _p = null!, _b = null!, _a = null!, _one = null!, _oneOut = null!;
    private Weight _weight = null!;
    private float[] _naive = [];

    [Params(DType.F32, DType.BF16)]
    public DType Type { get; set; }

    [Params(128, 512)]
    public int Rows { get; set; }

    protected override void Prepare()
    {
        const int K = 576, N = 1536, R = 8;
        _weight = NewWeight(N, K, Type);
        _naive = Values(N * K);
        (_x, _y, _p, _b, _a) = (New(Rows, K), New(Rows, N), New(Rows, R), New(N, R), New(R, K));
        (_one, _oneOut) = (New(1, K), New(1, N));
    }

    [Benchmark]
    public void Forward() => Backend.Linear(_x, _weight, null, null, _y);

    [Benchmark]
    public void ForwardLora() => Backend.Linear(_x, _weight, null, new LowRank(_p, _b), _y);

    [Benchmark]
    public void BackwardInput() => Backend.LinearBackwardInput(_y, _weight, null, _x);

    [Benchmark]
    public void BackwardInputLora() => Backend.LinearBackwardInput(_y, _weight, new LowRank(_p, _a), _x);

    [Benchmark]
    public void OneToken() => Backend.Linear(_one, _weight, null, null, _oneOut);

    [Benchmark(Baseline = true)]
    public void NaiveForward()
    {
        ReadOnlySpan<float> x = _x.Span<float>(), w = _naive;
        Span<float> y = _y.Span<float>();
        for (int m = 0; m < Rows; m++)
        {
            for (int n = 0; n < 1536; n++) y[m * 1536 + n] = TensorPrimitives.Dot(x.Slice(m * 576, 576), w.Slice(n * 576, 576));
        }
    }
}

/// <summary>The thin products of LoRA's forward and backward.</summary>
public class CpuLoraBenchmarks : CpuBenchmarks
{
    private Tensor _x = null!, _a = null!, _b = null!, _p = null!, _dy = null!, _da = null!, _db = null!;

    [Params(8, 32)]
    public int Rank { get; set; }

    protected override void Prepare()
    {
        (_x, _a, _b, _p, _dy) = (New(512, 2048), New(Rank, 2048), New(2048, Rank), New(512, Rank), New(512, 2048));
        (_da, _db) = (New(Rank, 2048), New(2048, Rank));
    }

    [Benchmark]
    public void Down() => Backend.MatMul(MatMulKind.NT, _x, _a, _p, 2f);

    [Benchmark]
    public void BackwardP() => Backend.MatMul(MatMulKind.NN, _dy, _b, _p, 2f);

    [Benchmark]
    public void GradientA() => Backend.MatMul(MatMulKind.TN, _p, _x, _da, 1f, true);

    [Benchmark]
    public void GradientB() => Backend.MatMul(MatMulKind.TN, _dy, _p, _db, 1f, true);
}

/// <summary>Attention of SmolLM-135M's shape, causal.</summary>
public class CpuAttentionBenchmarks : CpuBenchmarks
{
    private AttentionOperands _operands;
    private Tensor _dOutput = null!, _dQuery = null!, _dKey = null!, _dValue = null!;

    [Params(512, 2048)]
    public int Tokens { get; set; }

    protected override void Prepare()
    {
        const int Heads = 9, KeyValueHeads = 3, Size = 64;
        Tensor q = New(Tokens, Heads * Size), k = New(Tokens, KeyValueHeads * Size), v = New(Tokens, KeyValueHeads * Size), o = New(Tokens, Heads * Size);
        _operands = new(q, k, v, o, New(Tokens, Heads), AttentionLayout.Packed([Tokens], causal: true), Heads, KeyValueHeads, 0.125f, 0f);
        (_dOutput, _dQuery) = (New(Tokens, Heads * Size), New(Tokens, Heads * Size));
        (_dKey, _dValue) = (New(Tokens, KeyValueHeads * Size), New(Tokens, KeyValueHeads * Size));
        Backend.Attention(_operands);
    }

    [Benchmark]
    public void Forward() => Backend.Attention(_operands);

    [Benchmark]
    public void Backward() => Backend.AttentionBackward(_operands, _dOutput, _dQuery, _dKey, _dValue);
}

/// <summary>Pointwise and row operations on [256, 1536], next to what TensorPrimitives offers for the same.</summary>
public class CpuKernelBenchmarks : CpuBenchmarks
{
    private const int Rows = 256, Columns = 1536;
    private Tensor _x = null!, _u = null!, _y = null!, _w = null!, _rstd = null!, _loss = null!, _targets = null!, _cos = null!, _sin = null!, _positions = null!;
    private Tensor _p = null!, _g = null!, _m = null!, _v = null!, _stats = null!, _dy = null!, _dUp = null!, _one = null!;
    private Tensor[] _gradients = [];
    private AdamWTensor[] _updates = [];

    protected override void Prepare()
    {
        (_x, _u, _y, _w, _rstd, _loss) = (New(Rows, Columns), New(Rows, Columns), New(Rows, Columns), New(Columns), New(Rows), New(Rows));
        _targets = Backend.CreateIndex(Enumerable.Range(0, Rows).ToArray());
        _positions = Backend.CreateIndex(Enumerable.Range(0, Rows).ToArray());
        (_cos, _sin) = (New(Rows, 32), New(Rows, 32));
        (_p, _g, _m, _v) = (New(Rows * Columns), New(Rows * Columns), New(Rows * Columns), New(Rows * Columns));
        (_dy, _dUp, _one) = (New(Rows, Columns), New(Rows, Columns), New(1));
        Backend.Zero(_v);
        _stats = Backend.Create([1f, 1f, 1f], 3);
        _gradients = [_g];
        _updates = [new AdamWTensor(_p, _g, _m, _v, 1e-4f, 0.01f)];
        Backend.RmsNorm(_x, _w, 1e-5f, 0f, _y, _rstd);
    }

    [Benchmark]
    public void SwiGlu() => Backend.GatedActivate(Activation.Silu, _x, _u, _y);

    [Benchmark]
    public void SwiGluPrimitives()
    {
        ReadOnlySpan<float> x = _x.Span<float>(), u = _u.Span<float>();
        Span<float> y = _y.Span<float>();
        TensorPrimitives.Sigmoid(x, y);
        TensorPrimitives.Multiply(x, y, y);
        TensorPrimitives.Multiply(u, y, y);
    }

    [Benchmark]
    public void SwiGluBackward() => Backend.GatedActivateBackward(Activation.Silu, _dy, _x, _u, _y, _dUp);

    [Benchmark]
    public void Gelu() => Backend.Activate(Activation.Gelu, _x, _y);

    [Benchmark]
    public void RmsNorm() => Backend.RmsNorm(_x, _w, 1e-5f, 0f, _y, _rstd);

    [Benchmark]
    public void RmsNormPrimitives()
    {
        ReadOnlySpan<float> x = _x.Span<float>(), w = _w.Span<float>();
        Span<float> y = _y.Span<float>();
        for (int row = 0; row < Rows; row++)
        {
            ReadOnlySpan<float> a = x.Slice(row * Columns, Columns);
            Span<float> c = y.Slice(row * Columns, Columns);
            TensorPrimitives.Multiply(a, w, c);
            TensorPrimitives.Multiply(c, 1f / MathF.Sqrt(TensorPrimitives.SumOfSquares(a) / Columns + 1e-5f), c);
        }
    }

    [Benchmark]
    public void RmsNormBackward() => Backend.RmsNormBackward(_u, _x, _w, 0f, _rstd, _y, false, null);

    [Benchmark]
    public void LayerNorm() => Backend.LayerNorm(_x, _w, null, 1e-5f, _y, _loss, _rstd);

    [Benchmark]
    public void CrossEntropy() => Backend.CrossEntropy(_x, _targets, 1f, 0f, _loss, _y);

    [Benchmark]
    public void SoftMaxPrimitives()
    {
        for (int row = 0; row < Rows; row++)
            TensorPrimitives.SoftMax(_x.Span<float>().Slice(row * Columns, Columns), _y.Span<float>().Slice(row * Columns, Columns));
    }

    [Benchmark]
    public void Rope() => Backend.Rope(_x, _cos, _sin, _positions, 64, false, _y);

    [Benchmark]
    public void Dropout() => Backend.Dropout(_x, 0.1f, new DropoutKey(1, 1), 0, _y);

    [Benchmark]
    public void Add() => Backend.Add(_x, _u, _y);

    [Benchmark]
    public void AddPrimitives() => TensorPrimitives.Add(_x.Span<float>(), _u.Span<float>(), _y.Span<float>());

    [Benchmark]
    public void ColumnSum() => Backend.ColumnSum(_x, null, 1f, _w, false);

    [Benchmark]
    public void AdamW() => Backend.AdamW(_updates, new AdamWSettings(0.9f, 0.999f, 1e-8f, 5), _stats);

    [Benchmark]
    public void GradientNorm() => Backend.GradientNorm(_gradients, 1f, _one, _stats);
}
