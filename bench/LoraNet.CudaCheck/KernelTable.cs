using LoraNet.Tensors;

namespace LoraNet.CudaCheck;

/// <summary>One operation at the size of a training step of Llama-3.2-1B.</summary>
/// <param name="Kernel">Name of the operation.</param>
/// <param name="Shape">Its size at fraction 1.</param>
/// <param name="Bytes">What must be read and written, if memory is what bounds it, else 0.</param>
/// <param name="Flops">Operations, if arithmetic is what bounds it, else 0.</param>
/// <param name="Fraction">1 / the share of the size that <see cref="Run"/> works on.</param>
/// <param name="Run">Queues it.</param>
internal sealed record KernelCase(string Kernel, string Shape, long Bytes, double Flops, int Fraction, Action Run);

/// <summary>Every operation of the kernel contract on one backend, on random data: 8192 tokens, hidden 2048, intermediate 8192,
/// 32 query and 8 key heads of 64, vocabulary 128,256. A fraction makes the same list with fewer rows, for slower backends.</summary>
internal sealed class KernelTable : IDisposable
{
    private const int Hidden = 2048, Intermediate = 8192, Vocabulary = 128256, LogitRows = 1024, Rank = 16, Heads = 32, KeyValueHeads = 8, HeadSize = 64;
    private readonly Backend _b;
    private readonly Arena _arena;
    private readonly int _fraction, _tokens;
    private readonly List<KernelCase> _cases = [];
    private readonly Random _random = new(11);

    public KernelTable(Backend backend, int fraction)
    {
        (_b, _arena, _fraction, _tokens) = (backend, new Arena(backend), fraction, 8192 / fraction);
        AddProducts();
        AddAttention();
        AddRows();
        AddPointwise();
        AddMoves();
        AddLoss();
        AddOptimizer();
    }

    public IReadOnlyList<KernelCase> Cases => _cases;

    public void Dispose() => _arena.Dispose();

    private void AddProducts()
    {
        Tensor x = Random(_tokens, Hidden), wide = Random(_tokens, Intermediate), left = Random(_tokens, Rank);
        Tensor square = Random(_tokens, Hidden), right = Vector(Hidden, Rank), a = Vector(Rank, Hidden), g = Vector(Rank, Rank);
        Weight q = NewWeight(Hidden, Hidden), up = NewWeight(Intermediate, Hidden), down = NewWeight(Hidden, Intermediate), head = NewWeight(32768, Hidden);
        Product("Linear", Hidden, Hidden, () => _b.Linear(x, q, null, null, square));
        Product($"Linear with rank {Rank}", Hidden, Hidden, () => _b.Linear(x, q, null, new LowRank(left, right), square));
        Product("Linear", Intermediate, Hidden, () => _b.Linear(x, up, null, null, wide));
        Product("Linear", Hidden, Intermediate, () => _b.Linear(wide, down, null, null, square));
        Product("LinearBackwardInput", Hidden, Hidden, () => _b.LinearBackwardInput(square, q, null, x));
        Product("LinearBackwardInput", Hidden, Intermediate, () => _b.LinearBackwardInput(wide, up, null, x));
        Tensor few = Random(LogitRows / _fraction, Hidden), logits = Compute(LogitRows / _fraction, 32768);
        Case("Linear", $"{LogitRows} x 32768 x {Hidden}", 0, 2.0 * LogitRows * 32768 * Hidden, () => _b.Linear(few, head, null, null, logits));
        // These read the tokens once: memory bounds them.
        Case("MatMul NT, x·Aᵀ", $"{8192} x {Rank} x {Hidden}", Size(x, left), 0, () => _b.MatMul(MatMulKind.NT, x, a, left));
        Case("MatMul TN, gradient of A", $"{Rank} x {Hidden} x {8192}", Size(x, left), 0, () => _b.MatMul(MatMulKind.TN, left, x, a, 1, true));
        Tensor norms = Vector(Hidden), c = Vector(Rank, Hidden), norm = Vector(Hidden);
        Case("RowSquaredNorms", $"{Hidden} x {Hidden}", 2L * Hidden * Hidden, 0, () => _b.RowSquaredNorms(q, norms), 1);
        Case("DoraNorm", $"{Hidden}, rank {Rank}", Size(norms, c, right, norm), 0, () => _b.DoraNorm(norms, c, right, g, 2, norm), 1);
    }

    private void Product(string name, int n, int k, Action run) => Case(name, $"{8192} x {n} x {k}", 0, 2.0 * 8192 * n * k, run);

    private void AddAttention()
    {
        const int Length = 2048;
        // A sequence is not cut: a quarter of the batch stands for all of it.
        int segments = _fraction == 1 ? 4 : 1, rows = segments * Length;
        Tensor q = Random(rows, Heads * HeadSize), k = Random(rows, KeyValueHeads * HeadSize), v = Random(rows, KeyValueHeads * HeadSize), o = Compute(rows, Heads * HeadSize);
        Tensor lse = Vector(rows, Heads), dOutput = Random(rows, Heads * HeadSize), dq = Compute(rows, Heads * HeadSize), dk = Compute(rows, KeyValueHeads * HeadSize), dv = Compute(rows, KeyValueHeads * HeadSize);
        AttentionOperands operands = new(q, k, v, o, lse, AttentionLayout.Packed([.. Enumerable.Repeat(Length, segments)], true), Heads, KeyValueHeads, 0.125f, 0);
        double flops = 2.0 * 4 * Length * Length * HeadSize * Heads;
        Case("Attention, causal", $"4 x {Length}, 32/8 heads of 64", 0, flops, () => _b.Attention(operands), 4 / segments);
        Case("AttentionBackward", $"4 x {Length}, 32/8 heads of 64", 0, 2.5 * flops, () => _b.AttentionBackward(operands, dOutput, dq, dk, dv), 4 / segments);
    }

    private void AddRows()
    {
        Tensor x = Random(_tokens, Hidden), y = Random(_tokens, Hidden), z = Random(_tokens, Hidden), w = Vector(Hidden), rstd = Vector(_tokens), mean = Vector(_tokens);
        const string Shape = "8192 x 2048";
        Case("RmsNorm", Shape, Size(x, y), 0, () => _b.RmsNorm(x, w, 1e-5f, 0, y, rstd));
        Case("AddRmsNorm", Shape, Size(x, y, y, z), 0, () => _b.AddRmsNorm(x, y, w, 1e-5f, 0, y, z, rstd));
        Case("RmsNormBackward", Shape, Size(x, y, z), 0, () => _b.RmsNormBackward(y, x, w, 0, rstd, z, false, null));
        Case("RmsNormBackward, accumulating", Shape, Size(x, y, z, z), 0, () => _b.RmsNormBackward(y, x, w, 0, rstd, z, true, null));
        Case("LayerNorm", Shape, Size(x, y), 0, () => _b.LayerNorm(x, w, w, 1e-5f, y, mean, rstd));
        Case("LayerNormBackward", Shape, Size(x, y, z), 0, () => _b.LayerNormBackward(y, x, w, mean, rstd, z, false, null, null));
        Tensor cos = Vector(_tokens, HeadSize / 2), sin = Vector(_tokens, HeadSize / 2), positions = _b.CreateIndex([.. Enumerable.Range(0, _tokens)]);
        Case("Rope, queries", Shape, Size(x, y), 0, () => _b.Rope(x, cos, sin, positions, HeadSize, false, y));
        Tensor k = Random(_tokens, KeyValueHeads * HeadSize);
        Case("Rope, keys in place", "8192 x 512", Size(k, k), 0, () => _b.Rope(k, cos, sin, positions, HeadSize, false, k));
        Tensor sums = Vector(Hidden), one = Vector(1);
        Case("ColumnSum", Shape, Size(x), 0, () => _b.ColumnSum(x, null, 1, sums, false));
        Case("ScaleColumns", Shape, Size(x, y), 0, () => _b.ScaleColumns(x, w, y));
        Case("ScaleRows", Shape, Size(x, y), 0, () => _b.ScaleRows(x, mean, y));
        Case("AddRow", Shape, Size(x, y), 0, () => _b.AddRow(x, w, y));
        Case("Sum", Shape, Size(x), 0, () => _b.Sum(x, one));
    }

    private void AddPointwise()
    {
        Tensor gate = Random(_tokens, Intermediate), up = Random(_tokens, Intermediate), d = Random(_tokens, Intermediate);
        const string Wide = "8192 x 8192", Shape = "8192 x 2048";
        Case("GatedActivate, SiLU", Wide, Size(gate, up, d), 0, () => _b.GatedActivate(Activation.Silu, gate, up, d));
        Case("GatedActivateBackward, SiLU", Wide, Size(d, gate, up, gate, up), 0, () => _b.GatedActivateBackward(Activation.Silu, d, gate, up, gate, up));
        Case("Activate, GELU", Wide, Size(gate, up), 0, () => _b.Activate(Activation.Gelu, gate, up));
        Case("ActivateBackward, GELU", Wide, Size(d, gate, up), 0, () => _b.ActivateBackward(Activation.Gelu, d, gate, up));
        Tensor x = Random(_tokens, Hidden), y = Random(_tokens, Hidden), z = Random(_tokens, Hidden), v = Vector(Hidden);
        Case("Add", Shape, Size(x, y, z), 0, () => _b.Add(x, y, z));
        Case("Scale, accumulating", Shape, Size(x, y, y), 0, () => _b.Scale(x, 0.5f, y, true));
        Case("SoftCap", Shape, Size(x, y), 0, () => _b.SoftCap(x, 30, y));
        DropoutKey key = DropoutKey.Create(1, "m", "default", 3);
        Case("Dropout", Shape, Size(x, y), 0, () => _b.Dropout(x, 0.1f, key, 0, y));
        Case("VectorBinary", $"{Hidden}", Size(v, v, v), 0, () => _b.VectorBinary(true, v, v, v), 1);
    }

    private void AddMoves()
    {
        Tensor x = Random(_tokens, Hidden), y = Random(_tokens, Hidden), rows = _b.CreateIndex([.. Enumerable.Range(0, _tokens).Reverse()]);
        const string Shape = "8192 x 2048";
        Case("Scale by 1 (copy)", Shape, Size(x, y), 0, () => _b.Scale(x, 1, y));
        Case("Zero", Shape, Size(y), 0, () => _b.Zero(y));
        Case("CopyColumns", "8192 x 512 of 2048", Size(x, y) / 4, 0, () => _b.CopyColumns(x, 512, y, 512, 512));
        Case("GatherRows", Shape, Size(x, y), 0, () => _b.GatherRows(x, rows, y));
        Case("ScatterAddRows", Shape, Size(x, y, y), 0, () => _b.ScatterAddRows(x, rows, y));
        // As often as words of a text: the commonest of 8192 some 800 times, half of them once.
        Tensor words = _b.CreateIndex([.. Enumerable.Range(0, _tokens).Select(_ => (int)Math.Exp(_random.NextDouble() * Math.Log(_tokens)) - 1)]);
        Case("ScatterAddRows of a text's tokens", Shape, Size(x, y), 0, () => _b.ScatterAddRows(x, words, y));
        Weight table = NewWeight(Intermediate, Hidden);
        Tensor ids = _b.CreateIndex([.. Enumerable.Range(0, _tokens).Select(_ => _random.Next(Intermediate))]);
        Case("Embedding", Shape, Size(y, y), 0, () => _b.Embedding(table, ids, 1, y));
    }

    private void AddLoss()
    {
        int rows = LogitRows / _fraction;
        Tensor logits = Random(rows, Vocabulary), loss = Vector(rows), targets = _b.CreateIndex([.. Enumerable.Range(0, rows).Select(_ => _random.Next(Vocabulary))]);
        const string Shape = "1024 x 128256";
        Case("CrossEntropy", Shape, Size(logits), 0, () => _b.CrossEntropy(logits, targets, 1e-3f, 0, loss, null));
        Case("CrossEntropy with gradient in place", Shape, Size(logits, logits), 0, () => _b.CrossEntropy(logits, targets, 1e-3f, 0, loss, logits));
    }

    private void AddOptimizer()
    {
        // Rank 16 on all seven linear layers of 16 blocks: 11.3 M parameters in 224 tensors.
        List<AdamWTensor> tensors = [];
        List<Tensor> gradients = [];
        for (int i = 0; i < 112; i++)
        {
            foreach (int columns in (int[])[2048, 4240])
            {
                tensors.Add(new AdamWTensor(Vector(Rank, columns), Vector(Rank, columns), Vector(Rank, columns), Vector(Rank, columns), 1e-4f, 0.01f));
                gradients.Add(tensors[^1].Gradient);
            }
        }
        long bytes = gradients.Sum(g => g.Bytes);
        Tensor stats = Vector(3), sum = Vector(1);
        const string Shape = "11.3 M in 224 tensors";
        Case("GradientNorm", Shape, bytes, 0, () => _b.GradientNorm(gradients, 1, sum, stats), 1);
        Case("AdamW", Shape, 7 * bytes, 0, () => _b.AdamW(tensors, new AdamWSettings(0.9f, 0.999f, 1e-8f, 3), stats), 1);
        Case("ZeroAll", Shape, bytes, 0, () => _b.ZeroAll(gradients), 1);
    }

    private void Case(string kernel, string shape, long bytes, double flops, Action run, int? fraction = null) =>
        _cases.Add(new KernelCase(kernel, shape, bytes, flops, fraction ?? _fraction, run));

    private static long Size(params ReadOnlySpan<Tensor> tensors)
    {
        long sum = 0;
        foreach (Tensor t in tensors) sum += t.Bytes;
        return sum;
    }

    private Tensor Compute(int rows, int columns) => _arena.Rent(_b.ComputeType, rows, columns);

    /// <summary>Normal numbers: what the data are changes how much power, and so time, products take. 64 rows are made and repeated.</summary>
    private Tensor Random(int rows, int columns)
    {
        Tensor seed = _b.Create(_b.ComputeType, 64, columns), index = _b.CreateIndex([.. Enumerable.Range(0, rows).Select(i => i % 64)]), t = Compute(rows, columns);
        _b.Upload(Normal(64 * columns), seed);
        _b.GatherRows(seed, index, t);
        _b.Synchronize();
        _b.Free(seed);
        _b.Free(index);
        return t;
    }

    private Tensor Vector(params ReadOnlySpan<int> shape)
    {
        Tensor t = _arena.Rent(DType.F32, shape);
        float[] values = Normal((int)t.Count);
        // Also used as second moments and 1/σ.
        for (int i = 0; i < values.Length; i++) values[i] = 0.5f + Math.Abs(values[i]);
        _b.Upload(values, t);
        return t;
    }

    private Weight NewWeight(int n, int k)
    {
        float[] values = Normal(n * k);
        for (int i = 0; i < values.Length; i++) values[i] *= 0.02f;
        Weight w = new($"{n} x {k}", HostTensor.Copy(values, n, k));
        _b.Prepare(w);
        return w;
    }

    private float[] Normal(int count)
    {
        const int Made = 1 << 16;
        float[] values = new float[count];
        for (int i = 0; i < Math.Min(count, Made); i++) values[i] = (float)(Math.Sqrt(-2 * Math.Log(1 - _random.NextDouble())) * Math.Cos(2 * Math.PI * _random.NextDouble()));
        // The rest repeats it, a little shifted so that rows differ.
        for (int i = Made; i < count; i++) values[i] = values[i - Made + 1];
        return values;
    }
}
