using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Lora;

/// <summary>
/// An embedding with LoRA layers, as PEFT computes it (lora_dropout is ignored there): with A stored [vocabulary, r] here,
/// <code>
/// P = s·c·A[id],  y = c·W[id] + P·Bᵀ;   Q = s·c·dy·B,  dA[id] += Q,  dB = dyᵀ·P
/// </code>
/// where c is the embedding's own scale.
/// A trainable table (modules_to_save, full) is looked up and gets its gradient by rows.
/// </summary>
internal sealed class LoraEmbeddingOp : TapeNode
{
    private readonly List<(LoraLayer Layer, Tensor P, Tensor? Mask)> _layers = [];
    private EmbeddingModule _module = null!;
    private Tensor _ids = null!;

    public static Tensor Forward(Tape tape, Tensor ids, EmbeddingModule module, RowAdapters? adapters = null)
    {
        Backend backend = tape.Backend;
        int rows = (int)ids.Count, dim = module.Weight.Weight!.Columns;
        Tensor y = tape.Rent(rows, dim);
        bool trains = tape.Recording && (module.Weight.Override is { Trainable: true } || AnyTrainable(module));
        LoraEmbeddingOp? node = trains ? tape.Record<LoraEmbeddingOp>(y) : null;
        if (module.Weight.Override is { } table)
        {
            backend.GatherRows(table.Value, ids, y);
            if (module.Scale != 1) backend.Scale(y, module.Scale, y);
        }
        else
        {
            backend.Embedding(module.Weight.Weight, ids, module.Scale, y);
        }
        foreach (LoraLayer layer in module.Active)
        {
            Tensor gathered = tape.Rent(rows, layer.Rank), p = tape.Rent(rows, layer.Rank);
            backend.GatherRows(layer.A.Value, ids, gathered);
            backend.Scale(gathered, layer.Scaling * module.Scale, p);
            Tensor? mask = adapters?.Mask(layer.Adapter);
            if (mask is not null) backend.ScaleRows(p, mask, p);
            backend.MatMul(MatMulKind.NT, p, layer.B.Value, y, accumulate: true);
            node?._layers.Add((layer, node.Save(p), mask));
            Arena.Release(gathered);
            Arena.Release(p);
        }
        if (node is not null)
        {
            node._module = module;
            node._ids = node.Save(ids);
        }
        return y;
    }

    public override void Backward(Tape tape, Tensor outputGradient)
    {
        Backend backend = tape.Backend;
        if (_module.Weight.Override is { Trainable: true } table)
        {
            Tensor scaled = outputGradient;
            Arena.Retain(scaled);
            if (_module.Scale != 1)
            {
                Arena.Release(scaled);
                scaled = tape.Rent(outputGradient.Rows, outputGradient.Columns);
                backend.Scale(outputGradient, _module.Scale, scaled);
            }
            backend.ScatterAddRows(scaled, _ids, table.Gradient);
            Arena.Release(scaled);
        }
        foreach ((LoraLayer layer, Tensor p, Tensor? mask) in _layers)
        {
            if (layer.B.Trainable) backend.MatMul(MatMulKind.TN, outputGradient, p, layer.B.Gradient, accumulate: true);
            if (!layer.A.Trainable) continue;
            Tensor q = tape.Rent(outputGradient.Rows, layer.Rank);
            backend.MatMul(MatMulKind.NN, outputGradient, layer.B.Value, q, layer.Scaling * _module.Scale);
            if (mask is not null) backend.ScaleRows(q, mask, q);
            backend.ScatterAddRows(q, _ids, layer.A.Gradient);
            Arena.Release(q);
        }
    }

    protected override void Forget()
    {
        _layers.Clear();
        _module = null!;
        _ids = null!;
    }

    private static bool AnyTrainable(EmbeddingModule module)
    {
        foreach (LoraLayer layer in module.Active)
            if (layer.A.Trainable || layer.B.Trainable) return true;
        return false;
    }
}
