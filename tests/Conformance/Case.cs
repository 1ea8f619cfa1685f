using LoraNet.Tensors;

namespace LoraNet.Tests.Conformance;

/// <summary>
/// One comparison of one operation: makes the operands on both backends, runs both and compares every operand. Outputs
/// start as NaN unless accumulated into; operands that are not outputs must keep their bits; bytes before and after each
/// tensor must too; and a second run must give the same bits.
/// </summary>
public sealed unsafe class Case : IDisposable
{
    private const int GuardBytes = 256;
    private const byte GuardValue = 0xA5;
    private readonly Backend _actual, _expected;
    private readonly Func<DType, double> _tolerance;
    private readonly List<Pair> _pairs = [];
    private readonly List<WeightPair> _weights = [];
    private readonly List<(Tensor Memory, Tensor Inside)> _guarded = [];

    internal Case(Backend actual, Backend expected, Func<DType, double> tolerance, DataSeed seed)
    {
        (_actual, _expected, _tolerance) = (actual, expected, tolerance);
        Random = new Random(seed.Value);
    }

    /// <summary>Source of values, seeded by the case.</summary>
    public Random Random { get; }

    /// <summary>Independent standard normal values times <paramref name="scale"/> plus <paramref name="shift"/>.</summary>
    public float[] Normal(long count, double scale = 1, double shift = 0)
    {
        float[] values = new float[count];
        for (int i = 0; i < values.Length; i++)
            values[i] = (float)(shift + scale * Math.Sqrt(-2 * Math.Log(1 - Random.NextDouble())) * Math.Cos(2 * Math.PI * Random.NextDouble()));
        return values;
    }

    /// <summary>An activation: normal values in the compute type.</summary>
    public Pair Input(string name, params int[] shape) => Make(name, _actual.ComputeType, Normal(Product(shape)), shape);

    /// <summary>An activation with these values, rounded to the compute type.</summary>
    public Pair Input(string name, float[] values, params int[] shape) => Make(name, _actual.ComputeType, values, shape);

    /// <summary>A parameter, gradient of one, or row statistic: normal values in the parameter type.</summary>
    public Pair Parameter(string name, params int[] shape) => Make(name, _actual.ParameterType, Normal(Product(shape)), shape);

    /// <summary>A parameter with these values.</summary>
    public Pair Parameter(string name, float[] values, params int[] shape) => Make(name, _actual.ParameterType, values, shape);

    /// <summary>An operand of a given type.</summary>
    public Pair Typed(string name, DType type, float[] values, params int[] shape) => Make(name, type, values, shape);

    /// <summary>Ids, positions, row numbers.</summary>
    public Pair Index(string name, int[] values)
    {
        Pair pair = Allocate(name, DType.I32, DType.I32, [values.Length]);
        ReadOnlySpan<byte> bytes = System.Runtime.InteropServices.MemoryMarshal.AsBytes<int>(values);
        _actual.UploadBytes(bytes, pair.Actual);
        _expected.UploadBytes(bytes, pair.Expected);
        return pair;
    }

    /// <summary>An output: random when accumulated into, else NaN throughout.</summary>
    public Pair Output(string name, int[] shape, bool accumulate = false, double floor = 1, double? tolerance = null, bool parameter = false) =>
        OutputOf(name, parameter ? _actual.ParameterType : _actual.ComputeType, shape, accumulate, floor, tolerance);

    /// <summary>An output of a given type.</summary>
    public Pair OutputOf(string name, DType type, int[] shape, bool accumulate = false, double floor = 1, double? tolerance = null)
    {
        float[] values = Normal(Product(shape));
        if (!accumulate) Array.Fill(values, float.NaN);
        return Overwrite(Make(name, type, values, shape), floor, tolerance);
    }

    /// <summary>Declares that the operation overwrites or updates an operand.</summary>
    public Pair Overwrite(Pair pair, double floor = 1, double? tolerance = null)
    {
        (pair.Written, pair.Floor, pair.Tolerance) = (true, floor, tolerance);
        return pair;
    }

    /// <summary>A frozen weight of normal values, prepared on both sides.</summary>
    public WeightPair Weight(Stored stored, int rows, int columns)
    {
        int[] shape = stored.Transposed ? [columns, rows] : [rows, columns];
        byte[] bytes = GC.AllocateUninitializedArray<byte>(Math.Max(1, rows * columns * stored.Type.Size()), pinned: true);
        fixed (byte* p = bytes)
        {
            float[] values = Normal((long)rows * columns);
            // A 16-bit backend keeps every weight in its compute type: that rounding is no error of the operation under test.
            if (_actual.ComputeType is DType.BF16 or DType.F16)
            {
                HostConvert.FromSingle(values, _actual.ComputeType, p);
                HostConvert.ToSingle(p, _actual.ComputeType, values);
            }
            HostConvert.FromSingle(values, stored.Type, p);
            HostTensor source = new((nint)p, stored.Type, shape, bytes);
            WeightPair pair = new(new Weight("w", source, stored.Transposed), new Weight("w", source, stored.Transposed));
            _weights.Add(pair);
            _actual.Prepare(pair.Actual);
            _expected.Prepare(pair.Expected);
            return pair;
        }
    }

    /// <summary>The values of a tensor on the reference side, for operands derived from others.</summary>
    public float[] Values(Pair pair) => _expected.Download(pair.Expected);

    /// <summary>Runs the operation on both sides and compares everything.</summary>
    public void Run(Action<Side> operation)
    {
        foreach (Pair pair in _pairs) pair.Before = Bytes(_actual, pair.Actual);
        operation(new Side(_expected, false));
        operation(new Side(_actual, true));
        foreach (Pair pair in _pairs)
        {
            if (pair.Written) Compare(pair);
            else Assert.True(pair.Before.AsSpan().SequenceEqual(Bytes(_actual, pair.Actual)), $"{pair.Name} is no output and changed.");
        }
        foreach ((Tensor memory, Tensor inside) in _guarded)
        {
            byte[] all = Bytes(memory.Backend, memory);
            int end = GuardBytes + (int)inside.Bytes;
            bool kept = all.AsSpan(0, GuardBytes).IndexOfAnyExcept(GuardValue) < 0 && all.AsSpan(end).IndexOfAnyExcept(GuardValue) < 0;
            Assert.True(kept, $"Bytes outside a tensor {inside.ShapeText} on {memory.Backend.Name} were written.");
        }
        RunAgain(operation);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (WeightPair weight in _weights)
        {
            _actual.Drop(weight.Actual);
            _expected.Drop(weight.Expected);
        }
        foreach ((Tensor memory, _) in _guarded) memory.Backend.Free(memory);
    }

    // Determinism is part of the contract: whatever the threads do, the same operands give the same bits.
    private void RunAgain(Action<Side> operation)
    {
        byte[][] first = _pairs.Select(p => Bytes(_actual, p.Actual)).ToArray();
        foreach (Pair pair in _pairs) _actual.UploadBytes(pair.Before, pair.Actual);
        operation(new Side(_actual, true));
        for (int i = 0; i < _pairs.Count; i++)
            Assert.True(first[i].AsSpan().SequenceEqual(Bytes(_actual, _pairs[i].Actual)), $"{_pairs[i].Name} differs between two runs.");
    }

    private void Compare(Pair pair)
    {
        double[] actual = Doubles(_actual, pair.Actual), expected = Doubles(_expected, pair.Expected);
        double tolerance = pair.Tolerance ?? _tolerance(pair.Actual.DType);
        double error = 0, norm = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            double a = actual[i], e = expected[i];
            if (!double.IsFinite(e) || tolerance == 0)
            {
                if (!a.Equals(e)) Assert.Fail(Message(i, a, e));
                continue;
            }
            // Single elements get four times the tolerance of the whole: an average cannot hide one wrong element.
            if (!(Math.Abs(a - e) <= 4 * tolerance * (Math.Abs(e) + pair.Floor))) Assert.Fail(Message(i, a, e));
            error += (a - e) * (a - e);
            norm += e * e + pair.Floor * pair.Floor;
        }
        Assert.True(
            Math.Sqrt(error) <= tolerance * Math.Sqrt(norm),
            $"{pair.Name} {pair.Actual.ShapeText}: relative error {Math.Sqrt(error / norm):g3} of the whole, tolerance {tolerance:g3}.");

        string Message(int i, double a, double e) =>
            $"{pair.Name} {pair.Actual.ShapeText}[{i}] is {a:g9}, not {e:g9}; tolerance {tolerance:g3}, magnitude {pair.Floor:g3}.";
    }

    private Pair Make(string name, DType type, float[] values, int[] shape)
    {
        DType expectedType = _expected.ComputeType == DType.F64 ? DType.F64 : type;
        Pair pair = Allocate(name, type, expectedType, shape);
        _actual.Upload(values, pair.Actual);
        // Through the tested type, so that both sides start from the same rounded values.
        _expected.Upload(_actual.Download(pair.Actual), pair.Expected);
        return pair;
    }

    private Pair Allocate(string name, DType actualType, DType expectedType, int[] shape)
    {
        // A matrix may come with more dimensions: operations see the product of all but the last as rows.
        if (shape.Length == 2) shape = Random.Next(6) switch { 0 => [1, .. shape], 1 => [shape[0], 1, shape[1]], _ => shape };
        Pair pair = new(name, Guarded(_actual, actualType, shape), Guarded(_expected, expectedType, shape));
        _pairs.Add(pair);
        return pair;
    }

    private Tensor Guarded(Backend backend, DType type, int[] shape)
    {
        long bytes = Product(shape) * type.Size();
        Tensor memory = backend.Create(DType.U8, checked((int)(bytes + 2 * GuardBytes)));
        byte[] fill = new byte[memory.Bytes];
        Array.Fill(fill, GuardValue);
        backend.UploadBytes(fill, memory);
        Tensor inside = new() { Backend = backend, DType = type, Address = memory.Address + GuardBytes };
        inside.SetShape(shape);
        _guarded.Add((memory, inside));
        return inside;
    }

    private static byte[] Bytes(Backend backend, Tensor tensor)
    {
        byte[] bytes = new byte[tensor.Bytes];
        backend.DownloadBytes(tensor, bytes);
        return bytes;
    }

    private static double[] Doubles(Backend backend, Tensor tensor)
    {
        if (tensor.DType != DType.F64) return Array.ConvertAll(backend.Download(tensor), f => (double)f);
        double[] values = new double[tensor.Count];
        backend.DownloadBytes(tensor, System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }

    private static long Product(int[] shape) => shape.Aggregate(1L, (product, d) => product * d);
}
