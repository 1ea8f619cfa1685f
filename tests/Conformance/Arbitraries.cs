using FsCheck;
using FsCheck.Fluent;
using LoraNet.Tensors;

namespace LoraNet.Tests.Conformance;

/// <summary>One dimension: often 0, 1, odd or small, at times past the tiles and vectors of any kernel.</summary>
public readonly record struct Size(int Value)
{
    public static implicit operator int(Size size) => size.Value;

    public override string ToString() => Value.ToString();
}

/// <summary>Seed of the operands' values. Never shrunk: another seed is not a smaller case.</summary>
public readonly record struct DataSeed(int Value)
{
    public override string ToString() => $"seed {Value}";
}

/// <summary>How a frozen weight is stored.</summary>
public readonly record struct Stored(DType Type, bool Transposed);

/// <summary>Heads of grouped-query attention.</summary>
public readonly record struct HeadShape(int Heads, int KeyValueHeads, int HeadSize);

/// <summary>A dropout probability.</summary>
public readonly record struct Probability(float Value);

/// <summary>Kinds of <see cref="AttentionLayout"/> that models and generation make.</summary>
public enum LayoutKind
{
    Causal, CausalWindow, CausalWindowWithPositionGaps, Bidirectional, BidirectionalWindow, Cache, CacheSlots,
}

/// <summary>Generators and shrinkers of the above.</summary>
public static class Arbitraries
{
    public static Arbitrary<Size> Sizes() => Arb.From(
        Gen.Frequency(
            (2, Gen.Constant(0)), (3, Gen.Constant(1)), (9, Gen.Choose(2, 17)), (4, Gen.Choose(18, 70)), (2, Gen.Choose(71, 150)))
        .Select(n => new Size(n)),
        size => new[] { 0, 1, size / 2, size - 1 }.Where(n => n >= 0 && n < size.Value).Distinct().Select(n => new Size(n)));

    public static Arbitrary<DataSeed> Seeds() => Arb.From(Gen.Choose(0, int.MaxValue - 1).Select(n => new DataSeed(n)));

    public static Arbitrary<Stored> StoredForms() => Arb.From(
        from type in Gen.Elements(DType.F32, DType.BF16, DType.F16)
        from transposed in Gen.Elements(false, true)
        select new Stored(type, transposed));

    public static Arbitrary<HeadShape> HeadShapes() => Arb.From(
        from heads in Gen.Elements((1, 1), (2, 1), (3, 1), (4, 2), (6, 2), (4, 4), (8, 1))
        from size in Gen.Frequency((6, Gen.Elements(1, 3, 8, 16, 20, 33)), (3, Gen.Constant(64)), (1, Gen.Elements(80, 96, 128)))
        select new HeadShape(heads.Item1, heads.Item2, size),
        shape => new[] { shape with { Heads = 1, KeyValueHeads = 1 }, shape with { HeadSize = 1 }, shape with { HeadSize = 8 } }
            .Where(s => s != shape && s.HeadSize <= shape.HeadSize));

    public static Arbitrary<Probability> Probabilities() =>
        Arb.From(Gen.Elements(0f, 0.05f, 0.1f, 0.5f, 0.9f, 1f).Select(p => new Probability(p)));
}
