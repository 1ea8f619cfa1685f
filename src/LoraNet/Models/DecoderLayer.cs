using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Models;

/// <summary>
/// One decoder layer, for every family:
/// <code>
/// a = o(attention(rope(q(n₁(h))), rope(k(n₁(h))), v(n₁(h))));  h = h + n₂(a)
/// m = down(act(gate(n₃(h))) ⊙ up(n₃(h)));                      h = h + n₄(m)
/// </code>
/// where each norm n may be absent. h is [tokens, hidden].
/// </summary>
internal sealed class DecoderLayer
{
    private readonly DecoderOptions _options;
    private readonly float _scale;

    public DecoderLayer(DecoderOptions options, int index)
    {
        (_options, Index) = (options, index);
        _scale = options.AttentionScale ?? (float)(1 / Math.Sqrt(options.HeadSize));
    }

    public int Index { get; }
    public NormModule? AttentionNorm { get; init; }
    public NormModule? AttentionPostNorm { get; init; }
    public NormModule? MlpNorm { get; init; }
    public NormModule? MlpPostNorm { get; init; }
    public NormModule? QueryNorm { get; init; }
    public NormModule? KeyNorm { get; init; }
    public LinearModule? Query { get; init; }
    public LinearModule? Key { get; init; }
    public LinearModule? Value { get; init; }
    public LinearModule? FusedQueryKeyValue { get; init; }
    public required LinearModule Output { get; init; }
    public required IMlp Mlp { get; init; }

    /// <summary>True when something of the layer is trained.</summary>
    public bool Trains => Modules.Any(static m => (m is LinearModule linear && (Lora.LoraLinearOp.AnyTrainable(linear) || linear.Methods.Exists(static l => l.Parameters.Any(static p => p.Trainable)))) || m.Tensors.Any(static t => t.Override is { Trainable: true }));

    /// <summary>Modules of the layer, those of its feed-forward part included.</summary>
    public required IReadOnlyList<Module> Modules { get; init; }

    /// <summary>Runs the layer; takes over the caller's reference to <paramref name="h"/>.</summary>
    /// <param name="tape">Records the operations.</param>
    /// <param name="h">[tokens, hidden].</param>
    /// <param name="context">Dropout state; its row offset is switched when rows are gathered.</param>
    /// <param name="pass">Layout, positions, tables and cache of this pass.</param>
    /// <param name="rows">Rows to keep after attention, or null for all: later rows need only keys and values of the others.</param>
    public Tensor Forward(Tape tape, Tensor h, ForwardContext context, DecoderPass pass, Tensor? rows)
    {
        Tensor attention = Attention(tape, h, context, pass);
        if (rows is not null)
        {
            attention = Replace(attention, GatherRowsOp.Forward(tape, attention, rows));
            h = Replace(h, GatherRowsOp.Forward(tape, h, rows));
            context.RowOffset = pass.GatheredRowOffset;
            context.Adapters = pass.GatheredAdapters;
        }
        attention = Replace(attention, Output.Forward(tape, attention, context));
        if (AttentionPostNorm is not null) attention = Replace(attention, AttentionPostNorm.Forward(tape, attention));
        Tensor normed;
        if (MlpNorm is null)
        {
            h = normed = AddResidual(tape, h, attention);
            Arena.Retain(h);
        }
        else
        {
            (Tensor sum, normed) = MlpNorm.ForwardSum(tape, h, attention);
            Arena.Release(attention);
            h = Replace(h, sum);
        }
        // One rounding less, so only in generation: recomputed layers must give the bits of recorded ones.
        if (MlpPostNorm is null && pass.Cache is not null) h = Mlp.AddTo(tape, h, normed, context);
        else
        {
            Tensor mlp = Mlp.Forward(tape, normed, context);
            if (MlpPostNorm is not null) mlp = Replace(mlp, MlpPostNorm.Forward(tape, mlp));
            h = AddResidual(tape, h, mlp);
        }
        Arena.Release(normed);
        return h;
    }

    private Tensor Attention(Tape tape, Tensor h, ForwardContext context, DecoderPass pass)
    {
        int heads = _options.Heads, keyHeads = _options.KeyValueHeads, size = _options.HeadSize;
        Tensor normed = Normalised(tape, AttentionNorm, h);
        Tensor q, k, v;
        if (FusedQueryKeyValue is not null)
        {
            Tensor fused = FusedQueryKeyValue.Forward(tape, normed, context);
            q = SliceColumnsOp.Forward(tape, fused, 0, heads * size);
            k = SliceColumnsOp.Forward(tape, fused, heads * size, keyHeads * size);
            v = SliceColumnsOp.Forward(tape, fused, (heads + keyHeads) * size, keyHeads * size);
            Arena.Release(fused);
        }
        else
        {
            (q, k, v) = LinearModule.Forward(tape, normed, context, Query!, Key!, Value!);
        }
        Arena.Release(normed);
        if (QueryNorm is not null) q = Replace(q, QueryNorm.Forward(tape, q));
        if (KeyNorm is not null) k = Replace(k, KeyNorm.Forward(tape, k));
        var table = pass.Rope(Index);
        if (pass.Cache is null && table is not null)
        {
            q = RopeOp.Forward(tape, q, table.Value.Cos, table.Value.Sin, pass.Positions, size);
            k = RopeOp.Forward(tape, k, table.Value.Cos, table.Value.Sin, pass.Positions, size);
        }
        if (pass.Cache is { } cache)
        {
            cache.Append(Index, q, k, v, table, pass.Positions, size, pass.CacheRows!);
            if (pass.ReadsCache)
            {
                Arena.Release(k);
                Arena.Release(v);
                (k, v) = cache.Layer(Index);
            }
        }
        Tensor output = AttentionOp.Forward(tape, q, k, v, pass.Layout(Index), heads, keyHeads, _scale, _options.AttentionSoftCap);
        Arena.Release(q);
        Arena.Release(k);
        Arena.Release(v);
        return output;
    }

    private static Tensor Normalised(Tape tape, NormModule? norm, Tensor h)
    {
        if (norm is not null) return norm.Forward(tape, h);
        Arena.Retain(h);
        return h;
    }

    /// <summary>h + branch; takes over both references.</summary>
    internal static Tensor AddResidual(Tape tape, Tensor h, Tensor branch)
    {
        Tensor sum = AddOp.Forward(tape, h, branch);
        Arena.Release(h);
        Arena.Release(branch);
        return sum;
    }

    internal static Tensor Replace(Tensor old, Tensor replacement)
    {
        Arena.Release(old);
        return replacement;
    }
}

/// <summary>The feed-forward part of a layer.</summary>
internal interface IMlp
{
    /// <summary>[rows, hidden] to [rows, hidden]; does not release its input.</summary>
    Tensor Forward(Tape tape, Tensor x, ForwardContext context);

    /// <summary>h + the output for x; takes over the caller's reference to h, does not release x.</summary>
    Tensor AddTo(Tape tape, Tensor h, Tensor x, ForwardContext context) => DecoderLayer.AddResidual(tape, h, Forward(tape, x, context));
}

/// <summary>down(act(gate(x)) ⊙ up(x)), with gate and up separate or fused side by side.</summary>
internal sealed class GatedMlp(Activation activation, LinearModule? gate, LinearModule? up, LinearModule? fused, LinearModule down) : IMlp
{
    /// <summary>gate and up, or the layer that computes both.</summary>
    public IReadOnlyList<LinearModule> Inputs => fused is not null ? [fused] : [gate!, up!];

    public LinearModule Down => down;

    public Tensor Forward(Tape tape, Tensor x, ForwardContext context)
    {
        Tensor inner = Inner(tape, x, context);
        return DecoderLayer.Replace(inner, down.Forward(tape, inner, context));
    }

    public Tensor AddTo(Tape tape, Tensor h, Tensor x, ForwardContext context)
    {
        Tensor inner = Inner(tape, x, context);
        return DecoderLayer.Replace(inner, down.AddTo(tape, h, inner, context));
    }

    private Tensor Inner(Tape tape, Tensor x, ForwardContext context)
    {
        Tensor g, u;
        if (fused is not null)
        {
            Tensor both = fused.Forward(tape, x, context);
            int half = fused.Out / 2;
            g = SliceColumnsOp.Forward(tape, both, 0, half);
            u = SliceColumnsOp.Forward(tape, both, half, half);
            Arena.Release(both);
        }
        else
        {
            (g, u, _) = LinearModule.Forward(tape, x, context, gate!, up!);
        }
        Tensor inner = GatedActivationOp.Forward(tape, activation, g, u);
        Arena.Release(g);
        Arena.Release(u);
        return inner;
    }
}

/// <summary>down(act(up(x))).</summary>
internal sealed class PlainMlp(Activation activation, LinearModule up, LinearModule down) : IMlp
{
    public Tensor Forward(Tape tape, Tensor x, ForwardContext context)
    {
        Tensor u = up.Forward(tape, x, context);
        Tensor inner = ActivationOp.Forward(tape, activation, u);
        Arena.Release(u);
        return DecoderLayer.Replace(inner, down.Forward(tape, inner, context));
    }
}
