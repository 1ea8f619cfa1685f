using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;

namespace LoraNet.Lora;

/// <summary>Settings that LoHa and LoKr share.</summary>
public abstract record MatrixSettings : MethodSettings
{
    /// <summary>Probability of dropping an output row of ΔW in a training step, for all tokens alike.</summary>
    public double RankDropout { get; init; }

    /// <summary>Probability of leaving a module's change out of a training step.</summary>
    public double ModuleDropout { get; init; }

    /// <summary>Whether the rows that are kept are scaled so that the mean of the mask is 1.</summary>
    internal abstract bool ScalesRankDropout { get; }

    /// <inheritdoc/>
    internal override void Validate(LoraConfig config)
    {
        CheckProbability("rank_dropout", RankDropout);
        CheckProbability("module_dropout", ModuleDropout);
    }
}

/// <summary>
/// A change ΔW [out, in] that is put together from small factors as a whole matrix (LoHa, LoKr): y += x·ΔWᵀ. It is computed anew in
/// the backward instead of being kept.
/// </summary>
public abstract class MatrixLayer : MethodLayer
{
    private readonly MatrixSettings _settings;

    /// <summary>Creates the layer.</summary>
    private protected MatrixLayer(MethodContext c, MatrixSettings settings) : base(c.Module, c.Adapter) => (Scaling, _settings) = ((float)c.Scaling, settings);

    /// <summary>s.</summary>
    public float Scaling { get; }

    /// <inheritdoc/>
    internal override bool DiffersByStep => _settings.RankDropout > 0 || _settings.ModuleDropout > 0;

    /// <summary>ΔW with the scaling, rented from the arena.</summary>
    internal abstract Tensor Delta(Tape tape);

    /// <summary>Adds to the factors' gradients, given that of ΔW, which it may overwrite.</summary>
    internal abstract void DeltaBackward(Tape tape, Tensor gradient);

    /// <inheritdoc/>
    internal override Tensor Output(Tape tape, Tensor x, Tensor y, ForwardContext context)
    {
        if (context.Training && _settings.ModuleDropout > 0 && Draw(context, ".module", 1, _settings.ModuleDropout)[0] == 0) return y;
        MatrixDeltaOp.Accumulate(tape, x, y, this, RowMask(context));
        return y;
    }

    /// <inheritdoc/>
    internal override void MergeOutput(float[] w, int outputs, int inputs)
    {
        Backend backend = Parameters.First().Value.Backend;
        using Arena arena = new(backend);
        Tensor delta = Delta(new Tape(arena) { Recording = false });
        TensorPrimitives.Add(w, backend.Download(delta), w);
        Arena.Release(delta);
    }

    private float[]? RowMask(ForwardContext context)
    {
        if (!context.Training || _settings.RankDropout == 0) return null;
        float[] mask = Draw(context, ".rank", Module.Out, _settings.RankDropout);
        float mean = mask.Average();
        if (_settings.ScalesRankDropout && mean > 0) TensorPrimitives.Divide(mask, mean, mask);
        return mask;
    }

    /// <summary>1 where a value is kept. One draw a step: the same however its rows are split into micro-batches.</summary>
    private float[] Draw(ForwardContext context, string what, int count, double probability)
    {
        DropoutKey key = DropoutKey.Create(context.Seed, ModulePath + what, Adapter, context.Step);
        ulong threshold = Philox.Threshold((float)probability);
        return [.. Enumerable.Range(0, count).Select(i => Philox.Word(key, i, 0) >= threshold ? 1f : 0f)];
    }
}

/// <summary>y += x·(mask ⊙ ΔW)ᵀ in place; dΔW = mask ⊙ (dyᵀ·x), dx += dy·(mask ⊙ ΔW), where the mask holds a factor for each output row.</summary>
internal sealed class MatrixDeltaOp : TapeNode
{
    private Tensor _x = null!, _y = null!;
    private MatrixLayer _layer = null!;
    private float[]? _mask;
    private bool _yTracked;

    public static void Accumulate(Tape tape, Tensor x, Tensor y, MatrixLayer layer, float[]? mask)
    {
        Tensor delta = Masked(tape, layer.Delta(tape), mask);
        tape.Backend.MatMul(MatMulKind.NT, x, delta, y, accumulate: true);
        Arena.Release(delta);
        bool yTracked = y.RequiresGrad;
        if (!tape.Recording || !(x.RequiresGrad || yTracked || layer.Parameters.Any(p => p.Trainable))) return;
        MatrixDeltaOp node = tape.Record<MatrixDeltaOp>(y);
        node._y = node.SaveSlot(y);
        node._x = node.SaveSlot(node.Save(x));
        (node._layer, node._mask, node._yTracked) = (layer, mask, yTracked);
    }

    public override void Backward(Tape tape, Tensor outputGradient)
    {
        Backend backend = tape.Backend;
        if (_x.RequiresGrad)
        {
            Tensor delta = Masked(tape, _layer.Delta(tape), _mask);
            Tensor dx = tape.GradientTarget(_x, out bool accumulate);
            backend.MatMul(MatMulKind.NN, outputGradient, delta, dx, accumulate: accumulate);
            Arena.Release(delta);
        }
        if (_layer.Parameters.Any(p => p.Trainable))
        {
            Tensor gradient = tape.Arena.Rent(backend.ParameterType, outputGradient.Columns, _x.Columns);
            backend.MatMul(MatMulKind.TN, outputGradient, _x, gradient);
            _layer.DeltaBackward(tape, Masked(tape, gradient, _mask));
            Arena.Release(gradient);
        }
        if (_yTracked) tape.AddGradient(_y, outputGradient);
    }

    protected override void Forget()
    {
        _x = _y = null!;
        _layer = null!;
        _mask = null;
    }

    private static Tensor Masked(Tape tape, Tensor matrix, float[]? mask)
    {
        if (mask is null) return matrix;
        Tensor rows = tape.Arena.Rent(tape.Backend.ParameterType, mask.Length);
        tape.Backend.Upload(mask, rows);
        tape.Backend.ScaleRows(matrix, rows, matrix);
        Arena.Release(rows);
        return matrix;
    }
}
