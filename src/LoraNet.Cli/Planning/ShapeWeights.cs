using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Cli.Planning;

/// <summary>
/// Weights that exist by shape only: for plans with no memory behind them, for benchmarks with random values. All tensors are
/// windows into one block of random numbers, each at its own offset, so that a benchmark of a large model needs little memory.
/// </summary>
internal sealed unsafe class ShapeWeights : IWeightSource
{
    // Prime, so that rows of a matrix do not repeat.
    private const int Period = 1_000_003;
    private const float Deviation = 0.02f;
    private readonly Dictionary<string, HostTensor> _tensors = new(StringComparer.Ordinal);
    private void* _pool;

    private ShapeWeights()
    {
    }

    /// <summary>The stored type of the tensors.</summary>
    public static DType StoredType(ModelConfig config) => config.DType is DType.BF16 or DType.F16 ? config.DType.Value : DType.F32;

    /// <summary>Shapes without memory: reading a value is not possible.</summary>
    public static ShapeWeights ForPlan(ModelConfig config, DecoderOptions options)
    {
        ShapeWeights weights = new();
        nint address = 1 << 20;
        foreach ((string name, int[] shape) in ModelShapes.Of(config, options)) weights._tensors[name] = new HostTensor(address += 4096, StoredType(config), shape, null);
        return weights;
    }

    /// <summary>Random weights: matrices uniform with deviation 0.02, norms 1, biases 0.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="options">Its family's options.</param>
    /// <param name="dtype">Stored type.</param>
    public static ShapeWeights Random(ModelConfig config, DecoderOptions options, DType dtype)
    {
        IReadOnlyList<(string Name, int[] Shape)> shapes = ModelShapes.Of(config, options);
        ShapeWeights weights = new();
        long largest = shapes.Max(s => Count(s.Shape)), stride = 64;
        long elements = checked(largest + stride * shapes.Count);
        try
        {
            weights._pool = NativeMemory.AlignedAlloc(checked((nuint)(elements * dtype.Size())), 64);
        }
        catch (OutOfMemoryException e)
        {
            throw new LoraNetException($"Not enough memory for random weights: {elements * dtype.Size():N0} bytes were asked for.", "Use a smaller model.", e);
        }
        weights.Fill(elements, dtype);
        for (int i = 0; i < shapes.Count; i++)
        {
            (string name, int[] shape) = shapes[i];
            if (shape.Length == 1)
            {
                float[] values = new float[shape[0]];
                if (name.EndsWith(".weight", StringComparison.Ordinal)) Array.Fill(values, 1 - options.NormOffset);
                weights._tensors[name] = HostTensor.Copy(values, shape);
                continue;
            }
            weights._tensors[name] = new HostTensor((nint)weights._pool + (nint)(i * stride * dtype.Size()), dtype, shape, weights);
        }
        return weights;
    }

    /// <inheritdoc/>
    public IReadOnlyCollection<string> Names => _tensors.Keys;

    /// <inheritdoc/>
    public string? Directory => null;

    /// <inheritdoc/>
    public bool TryGet(string name, [NotNullWhen(true)] out HostTensor? tensor) => _tensors.TryGetValue(name, out tensor);

    /// <inheritdoc/>
    public HostTensor Get(string name) => _tensors.TryGetValue(name, out HostTensor? tensor) ? tensor
        : throw new LoraNetException($"This configuration implies no tensor '{name}'.", "Its model family cannot be planned without weights; use --model.");

    /// <summary>Frees the random numbers once a backend has its own form of every matrix: a model's file would leave the process likewise.</summary>
    public void FreeValues()
    {
        if (_pool is null) return;
        NativeMemory.AlignedFree(_pool);
        _pool = null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _tensors.Clear();
        FreeValues();
    }

    private void Fill(long elements, DType dtype)
    {
        int period = (int)Math.Min(Period, elements), size = dtype.Size();
        float[] values = new float[period];
        float range = Deviation * MathF.Sqrt(3);
        ulong state = 0x9E3779B97F4A7C15;
        for (int i = 0; i < period; i++)
        {
            state = state * 6364136223846793005 + 1442695040888963407;
            values[i] = range * ((state >> 40) / (float)(1 << 23) - 1);
        }
        HostConvert.FromSingle(values, dtype, (byte*)_pool);
        for (long at = period; at < elements; at += period)
            Buffer.MemoryCopy(_pool, (byte*)_pool + at * size, (elements - at) * size, Math.Min(period, elements - at) * size);
    }

    private static long Count(int[] shape) => shape.Aggregate(1L, static (a, b) => a * b);
}
