using FsCheck.Xunit;
using LoraNet.Tensors;

namespace LoraNet.Tests.Conformance;

public abstract partial class BackendConformance
{
    private static readonly DType[] _floatTypes = [DType.F32, DType.BF16, DType.F16];

    [Property]
    public void Activate(Activation kind, Size m, Size n, bool alias, bool wide, DataSeed seed)
    {
        using Case c = Start(seed);
        Pair x = c.Input("x", Arguments(c, (long)m * n, wide), m, n);
        Pair y = alias ? c.Overwrite(x) : c.Output("y", [m, n]);
        c.Run(s => s.Backend.Activate(kind, s[x], s[y]));
    }

    [Property]
    public void ActivateBackward(Activation kind, Size m, Size n, bool alias, bool wide, bool accumulate, DataSeed seed)
    {
        using Case c = Start(seed);
        Pair dy = c.Input("dy", m, n), x = c.Input("x", Arguments(c, (long)m * n, wide), m, n);
        alias &= !accumulate;
        Pair dx = alias ? c.Overwrite(dy) : c.Output("dx", [m, n], accumulate);
        c.Run(s => s.Backend.ActivateBackward(kind, s[dy], s[x], s[dx], accumulate));
    }

    [Property]
    public void GatedActivate(Activation kind, Size m, Size n, int alias, bool wide, DataSeed seed)
    {
        using Case c = Start(seed);
        Pair gate = c.Input("gate", Arguments(c, (long)m * n, wide), m, n), up = c.Input("up", m, n);
        Pair y = (alias & 3) switch { 0 => c.Overwrite(gate), 1 => c.Overwrite(up), _ => c.Output("y", [m, n]) };
        c.Run(s => s.Backend.GatedActivate(kind, s[gate], s[up], s[y]));
    }

    [Property]
    public void GatedActivateBackward(Activation kind, Size m, Size n, int alias, bool wide, DataSeed seed)
    {
        using Case c = Start(seed);
        Pair dy = c.Input("dy", m, n), gate = c.Input("gate", Arguments(c, (long)m * n, wide), m, n), up = c.Input("up", m, n);
        Pair dGate = (alias & 3) switch { 0 => c.Overwrite(gate), 1 => c.Overwrite(dy), _ => c.Output("dGate", [m, n]) };
        Pair dUp = (alias & 12) switch
        {
            0 => c.Overwrite(up),
            4 when dGate != dy => c.Overwrite(dy),
            _ => c.Output("dUp", [m, n]),
        };
        c.Run(s => s.Backend.GatedActivateBackward(kind, s[dy], s[gate], s[up], s[dGate], s[dUp]));
    }

    [Property]
    public void Add(Size m, Size n, int alias, DataSeed seed)
    {
        using Case c = Start(seed);
        Pair a = c.Input("a", m, n), b = c.Input("b", m, n);
        Pair y = (alias & 3) switch { 0 => c.Overwrite(a), 1 => c.Overwrite(b), _ => c.Output("y", [m, n]) };
        c.Run(s => s.Backend.Add(s[a], s[b], s[y]));
    }

    [Property]
    public void Scale(Size m, Size n, bool accumulate, bool alias, DataSeed seed)
    {
        using Case c = Start(seed);
        DType from = c.Random.GetItems(_floatTypes, 1)[0], to = c.Random.GetItems(_floatTypes, 1)[0];
        Pair x = c.Typed("x", from, c.Normal((long)m * n), m, n);
        Pair y = alias && !accumulate ? c.Overwrite(x) : c.OutputOf("y", to, [m, n], accumulate);
        c.Run(s => s.Backend.Scale(s[x], -1.7f, s[y], accumulate));
    }

    [Property]
    public void Scale_by_one_copies_and_casts_with_one_rounding(Size m, Size n, DataSeed seed)
    {
        using Case c = Start(seed);
        DType from = c.Random.GetItems(_floatTypes, 1)[0], to = c.Random.GetItems(_floatTypes, 1)[0];
        float[] values = c.Normal((long)m * n);
        for (int i = 0; i < values.Length; i++)
        {
            // Ties between two neighbours of the shorter types, results that overflow binary16, and what is not a number.
            values[i] = c.Random.Next(8) switch
            {
                0 => 1 + c.Random.Next(64) / 256f,
                1 => 1 + c.Random.Next(64) / 2048f,
                2 => values[i] * 1e5f,
                3 => values[i] * 1e-6f,
                4 when c.Random.Next(4) == 0 => c.Random.Next(2) == 0 ? float.NaN : float.NegativeInfinity,
                _ => values[i],
            };
        }
        Pair x = c.Typed("x", from, values, m, n);
        Tensor once = Backend.Create(to, m, n);
        Backend.Scale(x.Actual, 1, once);
        float[] expected = new float[values.Length];
        byte[] rounded = new byte[once.Bytes];
        unsafe
        {
            fixed (byte* p = rounded)
            {
                HostConvert.FromSingle(Backend.Download(x.Actual), to, p);
                HostConvert.ToSingle(p, to, expected);
            }
        }
        Assert.Equal(expected, Backend.Download(once));
        Backend.Free(once);
    }

    [Property]
    public void SoftCap(Size m, Size n, bool alias, DataSeed seed)
    {
        using Case c = Start(seed);
        Pair x = c.Input("x", c.Normal((long)m * n, 20), m, n);
        Pair y = alias ? c.Overwrite(x) : c.Output("y", [m, n]);
        c.Run(s => s.Backend.SoftCap(s[x], 30, s[y]));
    }

    [Property]
    public void VectorBinary(bool divide, Size n, int alias, DataSeed seed)
    {
        using Case c = Start(seed);
        float[] away = Array.ConvertAll(c.Normal(n), b => b < 0 ? b - 0.5f : b + 0.5f);
        Pair a = c.Parameter("a", n), b = c.Parameter("b", away, n);
        Pair y = (alias & 3) switch { 0 => c.Overwrite(a), 1 => c.Overwrite(b), _ => c.Output("y", [n], parameter: true) };
        c.Run(s => s.Backend.VectorBinary(divide, s[a], s[b], s[y]));
    }

    [Property]
    public void Dropout(Size m, Size n, Probability p, bool accumulate, bool alias, bool notFinite, DataSeed seed)
    {
        using Case c = Start(seed);
        float[] values = c.Normal((long)m * n);
        for (int i = 0; notFinite && i < values.Length; i += 3) values[i] = i % 2 == 0 ? float.NaN : float.PositiveInfinity;
        DropoutKey key = new((ulong)c.Random.NextInt64(), (uint)c.Random.Next());
        long rowOffset = c.Random.Next(2) == 0 ? 0 : c.Random.NextInt64(1L << 34);
        Pair x = c.Input("x", values, m, n);
        Pair y = alias && !accumulate ? c.Overwrite(x) : c.Output("y", [m, n], accumulate);
        c.Run(s => s.Backend.Dropout(s[x], p.Value, key, rowOffset, s[y], accumulate));
    }

    [Property]
    public void Zero(Size m, Size n, DataSeed seed)
    {
        using Case c = Start(seed);
        Pair x = c.OutputOf("x", AnyType(c), [m, n], tolerance: 0);
        c.Run(s => s.Backend.Zero(s[x]));
    }

    /// <summary>Arguments of a non-linearity: around its bend, or far out where exponentials overflow and tails vanish.</summary>
    private static float[] Arguments(Case c, long count, bool wide)
    {
        float[] values = c.Normal(count, wide ? 8 : 1);
        for (int i = 0; wide && i < values.Length; i += 5) values[i] = c.Random.GetItems([0f, -0f, 20f, -20f, 90f, -90f, 1e4f, -1e4f, 1e-20f], 1)[0];
        return values;
    }
}
