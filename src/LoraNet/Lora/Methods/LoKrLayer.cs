using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Lora;

/// <summary>
/// LoKr (Edalati et al., 2022; LyCORIS): ΔW = s·(W₁ ⊗ W₂), a Kronecker product of W₁ [a, b] and W₂ [c, d] with a·c = out and b·d = in,
/// each whole or, where it is large beside the rank, a product of two factors.
/// </summary>
public sealed record LoKrSettings : MatrixSettings
{
    /// <summary>Whether W₁ may be a product of factors too.</summary>
    public bool DecomposeBoth { get; init; }

    /// <summary>Size of W₁'s sides where it divides the layer's; −1 for sides as equal as possible.</summary>
    public int DecomposeFactor { get; init; } = -1;

    /// <summary>Whether the rows that rank dropout keeps are scaled so that the mean of the mask is 1.</summary>
    public bool RankDropoutScale { get; init; }

    /// <inheritdoc/>
    public override string PeftType => "LOKR";

    /// <inheritdoc/>
    internal override bool ScalesRankDropout => RankDropoutScale;

    /// <inheritdoc/>
    internal override void Validate(LoraConfig config)
    {
        base.Validate(config);
        if (DecomposeFactor is not (-1 or > 0)) throw new LoraNetException($"decompose_factor is {DecomposeFactor}; it must be -1 or a positive number.");
    }

    /// <inheritdoc/>
    internal override MethodLayer Create(MethodContext context) => new LoKrLayer(context, this);

    /// <summary>
    /// Two factors of a size, the smaller first: (factor, size / factor) where the factor divides it; else the pair of divisors with
    /// the smallest sum whose first is at most the factor, found going upwards until the sum grows.
    /// </summary>
    internal static (int Small, int Large) Split(int size, int factor)
    {
        if (factor > 0 && size % factor == 0) return (factor, size / factor);
        int limit = factor == -1 ? size : factor;
        (int small, int large) = (1, size);
        for (int candidate = 2; small < large && candidate <= limit && candidate <= size; candidate++)
        {
            if (size % candidate != 0) continue;
            if (candidate + size / candidate > size + 1) break;
            (small, large) = (candidate, size / candidate);
        }
        return small <= large ? (small, large) : (large, small);
    }
}

/// <summary>LoKr's factors for one module.</summary>
public sealed class LoKrLayer : MatrixLayer
{
    private readonly Backend _backend;
    private readonly Parameter? _w1, _w1a, _w1b, _w2, _w2a, _w2b;
    private readonly int _a, _b, _c, _d;
    private readonly Tensor _toMatrix, _toPairs;

    internal LoKrLayer(MethodContext context, LoKrSettings settings) : base(context, settings)
    {
        _backend = context.Backend;
        (_b, _d) = LoKrSettings.Split(context.Module.In, settings.DecomposeFactor);
        (_a, _c) = LoKrSettings.Split(context.Module.Out, settings.DecomposeFactor);
        int rank = context.Rank;
        bool random = context.Random;
        if (settings.DecomposeBoth && 2 * rank < Math.Max(_a, _b))
        {
            _w1a = random ? context.Uniform("lokr_w1_a", _a, rank) : context.Zeros("lokr_w1_a", _a, rank);
            _w1b = context.Uniform("lokr_w1_b", rank, _b);
        }
        else
        {
            _w1 = random ? context.Uniform("lokr_w1", _a, _b) : context.Zeros("lokr_w1", _a, _b);
        }
        if (2 * rank < Math.Max(_c, _d))
        {
            _w2a = context.Uniform("lokr_w2_a", _c, rank);
            _w2b = context.Uniform("lokr_w2_b", rank, _d);
        }
        else
        {
            _w2 = context.Uniform("lokr_w2", _c, _d);
        }
        (_toMatrix, _toPairs) = (Index(toMatrix: true), Index(toMatrix: false));
    }

    /// <inheritdoc/>
    public override IEnumerable<Parameter> Parameters => new[] { _w1, _w1a, _w1b, _w2, _w2a, _w2b }.OfType<Parameter>();

    /// <inheritdoc/>
    internal override Tensor Delta(Tape tape)
    {
        Arena arena = tape.Arena;
        Tensor w1 = Factor(tape, _w1, _w1a, _w1b), w2 = Factor(tape, _w2, _w2a, _w2b);
        Tensor column1 = arena.View(w1, _a * _b, 1), column2 = arena.View(w2, _c * _d, 1);
        // All pairs of entries [ab, cd]; the Kronecker product is the same rows of length d in another order.
        Tensor pairs = arena.Rent(_backend.ParameterType, _a * _b, _c * _d), delta = arena.Rent(_backend.ParameterType, _a * _c, _b * _d);
        _backend.MatMul(MatMulKind.NT, column1, column2, pairs, Scaling);
        Reorder(arena, pairs, delta, _toMatrix);
        foreach (Tensor t in new[] { column1, column2, pairs, w1, w2 }) Arena.Release(t);
        return delta;
    }

    /// <inheritdoc/>
    internal override void DeltaBackward(Tape tape, Tensor gradient)
    {
        Arena arena = tape.Arena;
        Tensor pairs = arena.Rent(_backend.ParameterType, _a * _b, _c * _d);
        Reorder(arena, gradient, pairs, _toPairs);
        Tensor w1 = Factor(tape, _w1, _w1a, _w1b), w2 = Factor(tape, _w2, _w2a, _w2b);
        Tensor column1 = arena.View(w1, _a * _b, 1), column2 = arena.View(w2, _c * _d, 1);
        Tensor d1 = arena.Rent(_backend.ParameterType, _a * _b, 1), d2 = arena.Rent(_backend.ParameterType, _c * _d, 1);
        _backend.MatMul(MatMulKind.NN, pairs, column2, d1, Scaling);
        _backend.MatMul(MatMulKind.TN, pairs, column1, d2, Scaling);
        Give(arena, d1, _a, _b, _w1, _w1a, _w1b);
        Give(arena, d2, _c, _d, _w2, _w2a, _w2b);
        foreach (Tensor t in new[] { column1, column2, pairs, d1, d2, w1, w2 }) Arena.Release(t);
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _backend.Free(_toMatrix);
        _backend.Free(_toPairs);
        base.Dispose();
    }

    private static Tensor Factor(Tape tape, Parameter? whole, Parameter? a, Parameter? b)
    {
        if (whole is not null) return whole.Value;
        Tensor product = tape.Arena.Rent(tape.Backend.ParameterType, a!.Value[0], b!.Value[1]);
        tape.Backend.MatMul(MatMulKind.NN, a.Value, b.Value, product);
        return product;
    }

    private void Give(Arena arena, Tensor gradient, int rows, int columns, Parameter? whole, Parameter? a, Parameter? b)
    {
        Tensor matrix = arena.View(gradient, rows, columns);
        if (whole is not null) _backend.Scale(matrix, 1, whole.Gradient, accumulate: true);
        else
        {
            _backend.MatMul(MatMulKind.NT, matrix, b!.Value, a!.Gradient, accumulate: true);
            _backend.MatMul(MatMulKind.TN, a.Value, matrix, b.Gradient, accumulate: true);
        }
        Arena.Release(matrix);
    }

    private void Reorder(Arena arena, Tensor from, Tensor to, Tensor rows)
    {
        Tensor source = arena.View(from, _a * _b * _c, _d), target = arena.View(to, _a * _b * _c, _d);
        _backend.GatherRows(source, rows, target);
        Arena.Release(source);
        Arena.Release(target);
    }

    // Rows (i, j, k) of the pairs and rows (i, k, j) of the matrix, each of length d.
    private Tensor Index(bool toMatrix)
    {
        int[] rows = new int[_a * _b * _c];
        for (int i = 0, at = 0; i < _a; i++)
            for (int outer = 0; outer < (toMatrix ? _c : _b); outer++)
                for (int inner = 0; inner < (toMatrix ? _b : _c); inner++, at++)
                    rows[at] = toMatrix ? (i * _b + inner) * _c + outer : (i * _c + inner) * _b + outer;
        return _backend.CreateIndex(rows);
    }
}
