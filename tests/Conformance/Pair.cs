using LoraNet.Tensors;

namespace LoraNet.Tests.Conformance;

/// <summary>One operand twice: with the same contents on the backend under test and on the reference.</summary>
public sealed class Pair
{
    internal Pair(string name, Tensor actual, Tensor expected) => (Name, Actual, Expected) = (name, actual, expected);

    /// <summary>Name in messages.</summary>
    public string Name { get; }

    /// <summary>The operand on the backend under test.</summary>
    public Tensor Actual { get; }

    /// <summary>The operand on the reference.</summary>
    public Tensor Expected { get; }

    /// <summary>The operation writes it.</summary>
    internal bool Written { get; set; }

    /// <summary>Natural magnitude of the output's elements; errors below tolerance × this are rounding even where the result cancels to 0.</summary>
    internal double Floor { get; set; } = 1;

    /// <summary>Relative error allowed, or null for what the output's type implies; 0 asks for equal bits.</summary>
    internal double? Tolerance { get; set; }

    /// <summary>Bytes of <see cref="Actual"/> before the operation.</summary>
    internal byte[] Before { get; set; } = [];
}

/// <summary>A frozen weight twice, over the same stored bytes.</summary>
public sealed record WeightPair(Weight Actual, Weight Expected);

/// <summary>One of the two backends with its operands.</summary>
public readonly struct Side
{
    private readonly bool _actual;

    internal Side(Backend backend, bool actual) => (Backend, _actual) = (backend, actual);

    /// <summary>The backend to call.</summary>
    public Backend Backend { get; }

    /// <summary>This side's tensor.</summary>
    public Tensor this[Pair pair] => _actual ? pair.Actual : pair.Expected;

    /// <summary>This side's weight.</summary>
    public Weight this[WeightPair pair] => _actual ? pair.Actual : pair.Expected;

    /// <summary>This side's tensor, or null.</summary>
    public Tensor? Optional(Pair? pair) => pair is null ? null : this[pair];

    /// <summary>This side's second phase, or null.</summary>
    public LowRank? LowRank(Pair? left, Pair? right) => left is null ? null : new LowRank(this[left], this[right!]);

    /// <summary>This side's tensors.</summary>
    public Tensor[] All(IEnumerable<Pair> pairs)
    {
        Side side = this;
        return pairs.Select(p => side[p]).ToArray();
    }
}
