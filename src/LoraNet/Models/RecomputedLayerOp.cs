using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Models;

/// <summary>
/// A decoder layer that keeps only its input: the backward runs its forward again and then back (gradient checkpointing; Chen et al.,
/// 2016). Dropout masks are functions of their key, so the second forward computes the same bits.
/// </summary>
internal sealed class RecomputedLayerOp : TapeNode
{
    private DecoderLayer _layer = null!;
    private DecoderPass _pass = null!;
    private ForwardContext _context = null!;
    private RowAdapters? _adapters;
    private Tensor _h = null!;
    private long _rowOffset;

    /// <summary>Runs the layer without recording it; takes over the caller's reference to <paramref name="h"/>.</summary>
    public static Tensor Forward(Tape tape, Tensor h, DecoderLayer layer, ForwardContext context, DecoderPass pass)
    {
        bool recording = tape.Recording;
        tape.Recording = false;
        Arena.Retain(h);
        Tensor y;
        try
        {
            y = layer.Forward(tape, h, context, pass, null);
        }
        finally
        {
            tape.Recording = recording;
        }
        RecomputedLayerOp node = tape.Record<RecomputedLayerOp>(y);
        node._h = node.SaveSlot(node.Save(h));
        (node._layer, node._pass, node._context) = (layer, pass, context);
        (node._rowOffset, node._adapters) = (context.RowOffset, context.Adapters);
        Arena.Release(h);
        return y;
    }

    /// <inheritdoc/>
    public override void Backward(Tape tape, Tensor outputGradient)
    {
        Tape inner = tape.Inner;
        inner.Recording = true;
        (long offset, RowAdapters? adapters) = (_context.RowOffset, _context.Adapters);
        (_context.RowOffset, _context.Adapters) = (_rowOffset, _adapters);
        // A view of its own: gradients that arrive in it must not mix with those of other readers of h.
        Tensor input = tape.Arena.View(_h, _h.Rows, _h.Columns);
        input.RequiresGrad = _h.RequiresGrad;
        Arena.Retain(input);
        Tensor y = _layer.Forward(inner, input, _context, _pass, null);
        Arena.Retain(outputGradient);
        y.Grad = outputGradient;
        inner.Backward();
        Arena.Release(y);
        (_context.RowOffset, _context.Adapters) = (offset, adapters);
        if (input.Grad is { } gradient)
        {
            input.Grad = null;
            tape.AddGradient(_h, gradient);
            Arena.Release(gradient);
        }
        Arena.Release(input);
    }

    /// <inheritdoc/>
    protected override void Forget()
    {
        _layer = null!;
        _pass = null!;
        _context = null!;
        _adapters = null;
        _h = null!;
    }
}
