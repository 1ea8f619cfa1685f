using LoraNet.Adapters;
using LoraNet.Models;
using LoraNet.Numerics;
using LoraNet.Tensors;

namespace LoraNet.Lora;

/// <summary>VeRA (Kopiczko et al., 2024): ΔW = diag(λ_b)·B·diag(λ_d)·A with random A and B that all layers share and nothing trains.</summary>
public sealed record VeraSettings : MethodSettings
{
    /// <summary>Seed of A and B (projection_prng_key): with PyTorch's generator, so that they are PEFT's.</summary>
    public int ProjectionSeed { get; init; }

    /// <summary>Whether A and B are stored with the adapter; else a reader draws them again.</summary>
    public bool SaveProjection { get; init; } = true;

    /// <summary>First value of λ_d.</summary>
    public double InitialD { get; init; } = 0.1;

    /// <inheritdoc/>
    public override string PeftType => "VERA";

    /// <inheritdoc/>
    internal override bool HasDropout => true;

    /// <inheritdoc/>
    internal override bool HasBias => true;

    /// <inheritdoc/>
    internal override void Validate(LoraConfig config)
    {
        if (config.RankPattern.Count + config.AlphaPattern.Count > 0) throw new LoraNetException("VeRA has one rank for all layers, which share A and B, and no alpha.", "Leave rank_pattern and alpha_pattern out.");
        if (!double.IsFinite(InitialD)) throw new LoraNetException($"d_initial is {InitialD}; it must be a finite number.");
    }

    /// <inheritdoc/>
    internal override AdapterPart CreateShared(Backend backend, string adapter, LoraConfig config, IReadOnlyList<LoraTarget> targets)
    {
        return new VeraProjection(backend, adapter, config.Rank, [.. targets.Select(t => (LinearModule)t.Module)], this);
    }

    /// <inheritdoc/>
    internal override MethodLayer Create(MethodContext c)
    {
        float[] d = c.Random ? c.Normal("vera_lambda_d", c.Rank) : [.. Enumerable.Repeat((float)InitialD, c.Rank)];
        float[] b = new float[c.Module.Out];
        if (c.Random) Array.Fill(b, 1);
        return new VeraLayer(c.Module, c.Adapter, c.Config.Dropout, c.Factor("vera_lambda_d", d, [d.Length]), c.Factor("vera_lambda_b", b, [b.Length]), (VeraProjection)c.Shared!);
    }
}

/// <summary>VeRA's vectors for one module.</summary>
public sealed class VeraLayer : DiagonalLayer
{
    private readonly VeraProjection _projection;

    internal VeraLayer(LinearModule module, string adapter, double dropout, Parameter d, Parameter b, VeraProjection projection) : base(module, adapter, 1, dropout, d, b) => _projection = projection;

    /// <inheritdoc/>
    public override IEnumerable<Parameter> Parameters => [Outer!, Diagonal];

    /// <inheritdoc/>
    internal override Tensor Down => _projection.Down(Module.In);

    /// <inheritdoc/>
    internal override Tensor Up => _projection.Up(Module.Out);
}

/// <summary>VeRA's A [r, largest in] and B [largest out, r] ~ U(±√(6/fan in)). A layer uses the leading columns of A and rows of B.</summary>
public sealed class VeraProjection : AdapterPart
{
    private readonly Backend _backend;
    private readonly bool _stored;
    private readonly Dictionary<int, Tensor> _down = [], _up = [];

    internal VeraProjection(Backend backend, string adapter, int rank, IReadOnlyList<LinearModule> modules, VeraSettings settings) : base("", adapter)
    {
        int outputs = modules.Max(m => m.Out), inputs = modules.Max(m => m.In);
        (_backend, _stored) = (backend, settings.SaveProjection);
        TorchRandom random = new((uint)settings.ProjectionSeed);
        float[] a = random.Uniform((long)rank * inputs, Math.Sqrt(6.0 / inputs)), b = random.Uniform((long)outputs * rank, Math.Sqrt(6.0 / rank));
        A = new Parameter(backend, "vera_A", ParameterKind.Factor, a, [rank, inputs], frozen: true);
        B = new Parameter(backend, "vera_B", ParameterKind.Factor, b, [outputs, rank], frozen: true);
        foreach (int part in modules.Select(m => m.In).Where(i => i < inputs).Distinct()) _down[part] = backend.Create(backend.ParameterType, rank, part);
        foreach (int part in modules.Select(m => m.Out).Where(o => o < outputs).Distinct()) _up[part] = backend.Slice(B.Value, 0, part);
        CopyColumns();
    }

    /// <summary>A.</summary>
    public Parameter A { get; }

    /// <summary>B.</summary>
    public Parameter B { get; }

    /// <inheritdoc/>
    public override IEnumerable<Parameter> Parameters => [A, B];

    /// <inheritdoc/>
    internal override IEnumerable<StoredTensor> Stored => _stored ? [OfRoot(A), OfRoot(B)] : [];

    /// <inheritdoc/>
    internal override void Activate(PretrainedModel model) { }

    internal Tensor Down(int inputs) => _down.GetValueOrDefault(inputs, A.Value);

    internal Tensor Up(int outputs) => _up.GetValueOrDefault(outputs, B.Value);

    /// <inheritdoc/>
    public override void Dispose()
    {
        foreach (Tensor part in _down.Values) _backend.Free(part);
        base.Dispose();
    }

    // On the host and not when they are first needed: a rehearsed or recorded pass must find them.
    private void CopyColumns()
    {
        float[] a = A.ToFile();
        int rank = A.Value[0], columns = A.Value[1];
        foreach ((int inputs, Tensor part) in _down)
        {
            float[] values = new float[rank * inputs];
            for (int r = 0; r < rank; r++) a.AsSpan(r * columns, inputs).CopyTo(values.AsSpan(r * inputs));
            _backend.Upload(values, part);
        }
    }

    private StoredTensor OfRoot(Parameter p) => StoredTensor.Plain(p) with
    {
        Root = AdapterTensors.Root,
        Set = values =>
        {
            p.FromFile(values);
            CopyColumns();
        },
    };
}
