using LoraNet.Tensors.Cpu;

namespace LoraNet.Tensors.Tests.Cpu;

/// <summary>What the CPU backend promises beyond the contract: the same bits for any number of threads, calls from several threads, no garbage.</summary>
public sealed class CpuBackendTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(256)]
    [InlineData(128)]
    public void Results_do_not_depend_on_the_number_of_threads(int bits)
    {
        byte[]? expected = null;
        foreach (int threads in (int[])[1, 2, 3, 8])
        {
            using CpuBackend backend = new(new CpuBackendOptions { Threads = threads, VectorBits = bits });
            using Step step = new(backend);
            step.Run();
            byte[] actual = step.Results();
            expected ??= actual;
            Assert.True(expected.AsSpan().SequenceEqual(actual), $"{threads} threads give other bits than one.");
        }
    }

    [Fact]
    public void Operations_may_run_on_several_threads_at_once()
    {
        using CpuBackend backend = new(new CpuBackendOptions { Threads = 2 });
        using Step reference = new(backend);
        reference.Run();
        byte[] expected = reference.Results();
        Step[] steps = [new(backend), new(backend), new(backend), new(backend)];
        Thread[] threads = Array.ConvertAll(steps, step => new Thread(() =>
        {
            for (int i = 0; i < 3; i++) step.Run();
        }));
        foreach (Thread thread in threads) thread.Start();
        foreach (Thread thread in threads) thread.Join();
        foreach (Step step in steps)
        {
            Assert.True(expected.AsSpan().SequenceEqual(step.Results()));
            step.Dispose();
        }
    }

    [Fact]
    public void A_steady_step_allocates_nothing()
    {
        using CpuBackend backend = new(new CpuBackendOptions { Threads = 2 });
        using Step step = new(backend);
        // A thread's scratch comes with the first chunk of a kind that it takes, and which thread takes it is not fixed: on a busy machine a
        // kind may reach this one late. What a step itself allocates would show in every run.
        int clean = 0;
        long allocated = 0;
        for (int i = 0; i < 100 && clean < 5; i++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            step.Run();
            allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            clean = allocated == 0 ? clean + 1 : 0;
        }
        Assert.True(clean == 5, $"A step still allocates {allocated} bytes after 100 runs.");
    }

    [Fact]
    public void An_exception_in_a_chunk_reaches_the_caller()
    {
        using WorkerPool pool = new(3, 10);
        for (int round = 0; round < 20; round++)
        {
            Thrower thrower = new(round % 7);
            Assert.Throws<InvalidOperationException>(() => pool.Run(7, ref thrower));
            int[] counts = new int[100];
            Counter counter = new(counts);
            pool.Run(counts.Length, ref counter);
            Assert.All(counts, count => Assert.Equal(1, count));
        }
    }

    [Fact]
    public void Nonsense_options_are_explained()
    {
        Assert.Throws<LoraNetException>(() => new CpuBackend(new CpuBackendOptions { Threads = -1 }));
        Assert.Throws<LoraNetException>(() => new CpuBackend(new CpuBackendOptions { VectorBits = 64 }));
        Assert.Throws<LoraNetException>(() => new CpuBackend(new CpuBackendOptions { SpinMicroseconds = -1 }));
    }

    [Fact]
    public void Weights_are_packed_once_and_dropped()
    {
        using CpuBackend backend = new(new CpuBackendOptions { Threads = 1 });
        Weight weight = new("w", HostTensor.Copy(new float[40 * 30], 40, 30));
        backend.Prepare(weight);
        object? form = weight.Prepared;
        backend.Prepare(weight);
        Assert.NotNull(form);
        Assert.Same(form, weight.Prepared);
        using CpuBackend other = new(new CpuBackendOptions { Threads = 1 });
        other.Drop(weight);
        Assert.Same(form, weight.Prepared);
        backend.Drop(weight);
        Assert.Null(weight.Prepared);
    }

    private readonly struct Thrower(int at) : IChunkAction
    {
        public void Invoke(int chunk)
        {
            if (chunk == at) throw new InvalidOperationException();
        }
    }

    private readonly struct Counter(int[] counts) : IChunkAction
    {
        public void Invoke(int chunk) => Interlocked.Increment(ref counts[chunk]);
    }

    /// <summary>The operations of a small transformer layer with LoRA, forward and backward, and an update; big enough to be split.</summary>
    private sealed class Step : IDisposable
    {
        private const int Rows = 150, Hidden = 200, Heads = 4, KeyValueHeads = 2, HeadSize = 50, Rank = 5, Vocabulary = 333;
        private readonly CpuBackend _backend;
        private readonly List<Tensor> _tensors = [];
        private readonly Random _random = new(7);
        private readonly Weight _w, _head;
        private readonly Tensor _x, _dropped, _p, _a, _b, _q, _kv, _o, _lse, _dq, _dk, _dv, _norm, _rstd, _y, _logits, _loss, _lossSum, _targets, _dx, _da, _db, _m, _v, _stats, _scale, _dw, _scalars;
        private readonly AttentionLayout _layout = AttentionLayout.Packed([70, 80], causal: true);
        private readonly Tensor[] _gradients;
        private readonly AdamWTensor[] _updates;

        public Step(CpuBackend backend)
        {
            _backend = backend;
            _w = new Weight("w", HostTensor.Copy(Values(Hidden * Hidden), Hidden, Hidden));
            _head = new Weight("head", HostTensor.Copy(Values(Vocabulary * Hidden), Vocabulary, Hidden));
            _x = New(Rows, Hidden);
            _dropped = New(Rows, Hidden);
            _p = New(Rows, Rank);
            _a = New(Rank, Hidden);
            _b = New(Hidden, Rank);
            _q = New(Rows, Hidden);
            _kv = New(Rows, KeyValueHeads * HeadSize);
            _o = New(Rows, Hidden);
            _lse = New(Rows, Heads);
            _dq = New(Rows, Hidden);
            _dk = New(Rows, KeyValueHeads * HeadSize);
            _dv = New(Rows, KeyValueHeads * HeadSize);
            _norm = New(Rows, Hidden);
            _rstd = New(Rows);
            _y = New(Rows, Hidden);
            _logits = New(Rows, Vocabulary);
            _loss = New(Rows);
            _lossSum = New(1);
            _dx = New(Rows, Hidden);
            _da = New(Rank, Hidden);
            _db = New(Hidden, Rank);
            _m = New(Rank, Hidden);
            _v = New(Rank, Hidden);
            _backend.Zero(_v);
            _stats = New(3);
            _scale = New(Hidden);
            _dw = New(Hidden);
            _scalars = New(1);
            _targets = backend.CreateIndex(Enumerable.Range(0, Rows).Select(i => i % 5 == 0 ? -1 : i % Vocabulary).ToArray());
            _gradients = [_da, _db];
            _updates = [new AdamWTensor(_a, _da, _m, _v, 1e-3f, 0.01f)];
        }

        public void Run()
        {
            CpuBackend b = _backend;
            b.RmsNorm(_x, _scale, 1e-5f, 0f, _norm, _rstd);
            b.Dropout(_norm, 0.1f, new DropoutKey(12345, 3), 0, _dropped);
            b.MatMul(MatMulKind.NT, _dropped, _a, _p, 2f);
            b.Linear(_norm, _w, null, new LowRank(_p, _b), _q);
            AttentionOperands operands = new(_q, _kv, _kv, _o, _lse, _layout, Heads, KeyValueHeads, 0.14f, 0f);
            b.Attention(operands);
            b.AttentionBackward(operands, _o, _dq, _dk, _dv);
            b.GatedActivate(Activation.Silu, _o, _q, _y);
            b.Linear(_y, _head, null, null, _logits);
            b.CrossEntropy(_logits, _targets, 0.01f, 0f, _loss, _logits);
            b.Sum(_loss, _lossSum);
            b.LinearBackwardInput(_logits, _head, null, _dx);
            b.MatMul(MatMulKind.NN, _dx, _b, _p);
            b.MatMul(MatMulKind.TN, _p, _dropped, _da);
            b.MatMul(MatMulKind.TN, _dx, _p, _db);
            b.LinearBackwardInput(_dx, _w, new LowRank(_p, _a), _dq);
            b.Zero(_dw);
            b.RmsNormBackward(_dq, _x, _scale, 0f, _rstd, _dx, false, _dw);
            b.GradientNorm(_gradients, 1f, _lossSum, _stats);
            b.Zero(_m);
            b.Zero(_v);
            b.Sum(_a, _scalars);
            if (Final) b.AdamW(_updates, new AdamWSettings(0.9f, 0.999f, 1e-8f, 1), _stats);
        }

        private bool Final { get; set; }

        public byte[] Results()
        {
            Final = true;
            Run();
            using MemoryStream all = new();
            foreach (Tensor tensor in _tensors)
            {
                byte[] bytes = new byte[tensor.Bytes];
                _backend.DownloadBytes(tensor, bytes);
                all.Write(bytes);
            }
            return all.ToArray();
        }

        public void Dispose()
        {
            foreach (Tensor tensor in _tensors) _backend.Free(tensor);
            _backend.Free(_targets);
            _backend.Drop(_w);
            _backend.Drop(_head);
        }

        private Tensor New(params int[] shape)
        {
            Tensor tensor = _backend.Create(Values(shape.Aggregate(1, (x, y) => x * y)), shape);
            _tensors.Add(tensor);
            return tensor;
        }

        private float[] Values(int count)
        {
            float[] values = new float[count];
            for (int i = 0; i < count; i++) values[i] = (float)(_random.NextDouble() - 0.5);
            return values;
        }
    }
}
