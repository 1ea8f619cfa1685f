using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Models.Encoders;

/// <summary>
/// One encoder layer with norms after the residual sums (Vaswani et al., 2017):
/// <code>
/// h = norm₁(h + o(attention(q(h), k(h), v(h))));  h = norm₂(h + down(act(up(h))))
/// </code>
/// h is [tokens, hidden]; every token sees its whole sample.
/// </summary>
internal sealed class EncoderLayer(EncoderOptions options)
{
    private readonly float _scale = (float)(1 / Math.Sqrt(options.HiddenSize / options.Heads));

    public required LinearModule Query { get; init; }
    public required LinearModule Key { get; init; }
    public required LinearModule Value { get; init; }
    public required LinearModule Output { get; init; }
    public required NormModule AttentionNorm { get; init; }
    public required LinearModule Up { get; init; }
    public required LinearModule Down { get; init; }
    public required NormModule OutputNorm { get; init; }

    /// <summary>Runs the layer; takes over the caller's reference to <paramref name="h"/>.</summary>
    /// <param name="tape">Records the operations.</param>
    /// <param name="h">[tokens, hidden].</param>
    /// <param name="context">Dropout state; its row offset is switched when rows are gathered.</param>
    /// <param name="layout">Visible keys.</param>
    /// <param name="rows">Rows to keep after attention, or null for all.</param>
    /// <param name="gatheredOffset">Row number within the optimizer step of the first kept row.</param>
    public Tensor Forward(Tape tape, Tensor h, ForwardContext context, AttentionLayout layout, Tensor? rows, long gatheredOffset)
    {
        Tensor q = Query.Forward(tape, h, context), k = Key.Forward(tape, h, context), v = Value.Forward(tape, h, context);
        Tensor attention = AttentionOp.Forward(tape, q, k, v, layout, options.Heads, options.Heads, _scale, 0);
        Arena.Release(q);
        Arena.Release(k);
        Arena.Release(v);
        if (rows is not null)
        {
            attention = DecoderLayer.Replace(attention, GatherRowsOp.Forward(tape, attention, rows));
            h = DecoderLayer.Replace(h, GatherRowsOp.Forward(tape, h, rows));
            context.RowOffset = gatheredOffset;
        }
        attention = DecoderLayer.Replace(attention, Output.Forward(tape, attention, context));
        h = AddAndNormalise(tape, h, attention, AttentionNorm);

        Tensor up = Up.Forward(tape, h, context);
        Tensor inner = DecoderLayer.Replace(up, ActivationOp.Forward(tape, options.Activation, up));
        return AddAndNormalise(tape, h, DecoderLayer.Replace(inner, Down.Forward(tape, inner, context)), OutputNorm);
    }

    private static Tensor AddAndNormalise(Tape tape, Tensor h, Tensor branch, NormModule norm)
    {
        Tensor sum = AddOp.Forward(tape, h, branch);
        Arena.Release(h);
        Arena.Release(branch);
        return DecoderLayer.Replace(sum, norm.Forward(tape, sum));
    }
}
