using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Lora;

/// <summary>
/// An embedding whose active layers include DoRA, as PEFT computes it: with e = c·W[id], n the norms of the columns of W + s·(B·A)ᵀ
/// over the vocabulary (detached) and g = m / n, one for each output dimension,
/// <code>
/// P = s·c·A[id],  u = e + P·Bᵀ,  y = e + Σ (g ⊙ u − e);   du = g ⊙ dy,  dm = Σ dy ⊙ u / n,  dB = duᵀ·P,  dA[id] += s·c·du·B
/// </code>
/// Plain LoRA layers beside it add P·Bᵀ. The norm reads the whole table in each pass.
/// </summary>
internal sealed class DoraEmbeddingOp : TapeNode
{
    // Rows of the table taken at a time for the norm.
    private const int Chunk = 4096;
    private readonly List<Part> _parts = [];
    private EmbeddingModule _module = null!;
    private Tensor _ids = null!;

    private readonly record struct Part(LoraLayer Layer, Tensor P, Tensor? U, Tensor? G, Tensor? Norm);

    public static Tensor Forward(Tape tape, Tensor ids, EmbeddingModule module)
    {
        Backend backend = tape.Backend;
        int rows = (int)ids.Count, dim = module.Weight.Weight!.Columns;
        Tensor y = tape.Rent(rows, dim), e = tape.Rent(rows, dim);
        backend.Embedding(module.Weight.Weight, ids, module.Scale, e);
        backend.Scale(e, 1, y);
        bool trains = tape.Recording && module.Active.Exists(l => l.Parameters.Any(p => p.Trainable));
        DoraEmbeddingOp? node = trains ? tape.Record<DoraEmbeddingOp>(y) : null;
        foreach (LoraLayer layer in module.Active)
        {
            Tensor p = tape.Rent(rows, layer.Rank);
            backend.GatherRows(layer.A.Value, ids, p);
            backend.Scale(p, layer.Scaling * module.Scale, p);
            if (layer.Magnitude is null)
            {
                backend.MatMul(MatMulKind.NT, p, layer.B.Value, y, accumulate: true);
                node?._parts.Add(new Part(layer, node.Save(p), null, null, null));
                Arena.Release(p);
                continue;
            }
            Tensor norm = Norm(tape, module, layer);
            Tensor g = tape.Arena.Rent(backend.ParameterType, dim);
            backend.VectorBinary(divide: true, layer.Magnitude.Value, norm, g);
            Tensor u = tape.Rent(rows, dim);
            backend.Scale(e, 1, u);
            backend.MatMul(MatMulKind.NT, p, layer.B.Value, u, accumulate: true);
            backend.ScaleColumns(u, g, y, accumulate: true);
            backend.Scale(e, -1, y, accumulate: true);
            node?._parts.Add(new Part(layer, node.Save(p), node.Save(u), node.Save(g), node.Save(norm)));
            foreach (Tensor t in new[] { p, u, g, norm }) Arena.Release(t);
        }
        Arena.Release(e);
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
        foreach (Part part in _parts)
        {
            LoraLayer layer = part.Layer;
            Tensor du = outputGradient;
            Arena.Retain(du);
            if (part.G is not null)
            {
                if (layer.Magnitude!.Trainable) DoraLinearOp.MagnitudeGradient(tape, outputGradient, part.U!, part.Norm!, layer.Magnitude);
                Arena.Release(du);
                du = tape.Rent(outputGradient.Rows, outputGradient.Columns);
                backend.ScaleColumns(outputGradient, part.G, du);
            }
            if (layer.B.Trainable) backend.MatMul(MatMulKind.TN, du, part.P, layer.B.Gradient, accumulate: true);
            if (layer.A.Trainable)
            {
                Tensor q = tape.Rent(du.Rows, layer.Rank);
                backend.MatMul(MatMulKind.NN, du, layer.B.Value, q, layer.Scaling * _module.Scale);
                backend.ScatterAddRows(q, _ids, layer.A.Gradient);
                Arena.Release(q);
            }
            Arena.Release(du);
        }
    }

    /// <summary>n[d] = ‖W[:, d] + s·A·B[d]‖ over the vocabulary, from ‖W[:, d]‖², AᵀW and AᵀA.</summary>
    internal static Tensor Norm(Tape tape, EmbeddingModule module, LoraLayer layer)
    {
        Backend backend = tape.Backend;
        Weight w = module.Weight.Weight!;
        int r = layer.Rank, dim = w.Columns;
        bool first = layer.SquaredNorms is null;
        if (first)
        {
            layer.SquaredNorms = backend.Create(backend.ParameterType, dim);
            backend.Zero(layer.SquaredNorms);
            layer.TableRows = backend.CreateIndex([.. Enumerable.Range(0, w.Rows)]);
        }
        Tensor c = tape.Arena.Rent(backend.ParameterType, r, dim), gram = tape.Arena.Rent(backend.ParameterType, r, r);
        backend.MatMul(MatMulKind.TN, layer.A.Value, layer.A.Value, gram);
        for (int row = 0; row < w.Rows; row += Chunk)
        {
            int count = Math.Min(Chunk, w.Rows - row);
            Tensor table = tape.Rent(count, dim);
            backend.Embedding(w, backend.Slice(layer.TableRows!, row, count), 1, table);
            if (first) backend.ColumnSum(table, table, 1, layer.SquaredNorms!, accumulate: true);
            backend.MatMul(MatMulKind.TN, backend.Slice(layer.A.Value, row, count), table, c, accumulate: row > 0);
            Arena.Release(table);
        }
        Tensor norm = tape.Arena.Rent(backend.ParameterType, dim);
        backend.DoraNorm(layer.SquaredNorms!, c, layer.B.Value, gram, layer.Scaling, norm);
        Arena.Release(c);
        Arena.Release(gram);
        return norm;
    }

    protected override void Forget()
    {
        _parts.Clear();
        _module = null!;
        _ids = null!;
    }
}
