using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>Arguments of <see cref="LossKernels.CrossEntropy"/>.</summary>
internal struct CrossEntropyArgs
{
    /// <summary>DLogits is 0 when no gradient is wanted.</summary>
    public long Logits, Targets, Loss, DLogits;

    /// <summary>Where recorded work reads the gradient scale; 0 takes <see cref="GradScale"/>.</summary>
    public long GradScaleAddress;
    public int Columns;
    public float GradScale, SoftCap;
}

/// <summary>
/// Cross-entropy with its gradient, one group a row. A row is read once for its maximum and sum and, when a gradient is wanted, once more
/// from its end to its beginning: what was read last is most likely still in the level-2 cache.
/// </summary>
internal static class LossKernels
{
    [LargestGroup(1024)]
    public static void CrossEntropy<TX, TD>(CrossEntropyArgs a)
        where TX : struct, IStorage
        where TD : struct, IStorage
    {
        ArrayView<float> scratch = SharedMemory.Allocate<float>(32);
        int target = Stored.LoadInt(a.Targets, Grid.IdxX);
        RowParts row = RowParts.Of((long)Grid.IdxX * a.Columns, a.Columns, a.Logits | a.DLogits);
        if (target < 0)
        {
            if (Group.IdxX == 0) StoredF32.Store(a.Loss, Grid.IdxX, 0f);
            if (a.DLogits == 0) return;
            for (int p = Group.IdxX; p < row.Octets; p += Group.DimX) TD.StoreOctet(a.DLogits, row.Body + 8L * p, default);
            for (int s = Group.IdxX; s < row.Singles; s += Group.DimX) TD.Store(a.DLogits, row.Single(s), 0f);
            return;
        }
        if (a.GradScaleAddress != 0) a.GradScale = StoredF32.Load(a.GradScaleAddress, 0);
        // Two copies of the passes: with the cap's branches inside, the usual one would not fit the instruction cache.
        if (a.SoftCap > 0f) Row<TX, TD, Capped>(a, row, target, scratch);
        else Row<TX, TD, Uncapped>(a, row, target, scratch);
    }

    private static void Row<TX, TD, TCap>(CrossEntropyArgs a, RowParts row, int target, ArrayView<float> scratch)
        where TX : struct, IStorage
        where TD : struct, IStorage
        where TCap : struct, ICap
    {
        MaxAndSum running = Statistics<TX, TCap>(a, row);
        float max = GroupReduce.Max(running.Max, scratch);
        float sum = GroupReduce.Sum(running.Sum * DeviceMath.Exp(running.Max - max), scratch);
        float logit = 0f;
        if (Group.IdxX == 0)
        {
            logit = TCap.Apply(TX.Load(a.Logits, row.First + target), a.SoftCap);
            // Not (max + log) − logit: a large maximum would swallow the logarithm's digits.
            StoredF32.Store(a.Loss, Grid.IdxX, DeviceMath.Log(sum) + (max - logit));
        }
        if (a.DLogits == 0) return;
        // The target's logit was read above; dLogits may alias logits.
        Group.Barrier();
        Gradients<TX, TD, TCap>(a, row, max, a.GradScale / sum);
        Group.Barrier();
        if (Group.IdxX == 0)
        {
            float p = DeviceMath.Exp<TX>(logit - max) / sum;
            TD.Store(a.DLogits, row.First + target, a.GradScale * (p - 1f) * TCap.Slope(logit, a.SoftCap));
        }
    }

    /// <summary>One pass: each thread keeps a running maximum and the sum relative to it (Milakov &amp; Gimelshein, 2018).</summary>
    private static MaxAndSum Statistics<TX, TCap>(CrossEntropyArgs a, RowParts row)
        where TX : struct, IStorage
        where TCap : struct, ICap
    {
        // The start value is finite, so that logits of −∞ and threads without columns add 0 and never −∞ − (−∞).
        MaxAndSum s = default;
        s.Max = -float.MaxValue;
        int p = Group.IdxX, step = Group.DimX;
        // Four loads in flight. An F32 octet is two loads already, and capping logits costs far more than loading them: those take the plain loop.
        for (; TX.Size == 2 && !TCap.Caps && p + 3 * step < row.Octets; p += 4 * step)
        {
            Octet x = TX.LoadOctet(a.Logits, row.Body + 8L * p), y = TX.LoadOctet(a.Logits, row.Body + 8L * (p + step));
            Octet z = TX.LoadOctet(a.Logits, row.Body + 8L * (p + 2 * step)), w = TX.LoadOctet(a.Logits, row.Body + 8L * (p + 3 * step));
            s = Raise<TX>(s, MathF.Max(MathF.Max(Max(x), Max(y)), MathF.Max(Max(z), Max(w))));
            s.Sum += Exponentials<TX>(x, s.Max) + Exponentials<TX>(y, s.Max) + (Exponentials<TX>(z, s.Max) + Exponentials<TX>(w, s.Max));
        }
        for (; p < row.Octets; p += step)
        {
            Octet x = Apply<TCap>(TX.LoadOctet(a.Logits, row.Body + 8L * p), a.SoftCap);
            s = Raise<TX>(s, Max(x));
            s.Sum += Exponentials<TX>(x, s.Max);
        }
        for (int i = Group.IdxX; i < row.Singles; i += step)
        {
            float x = TCap.Apply(TX.Load(a.Logits, row.Single(i)), a.SoftCap);
            s = Raise<TX>(s, x);
            s.Sum += DeviceMath.Exp<TX>(x - s.Max);
        }
        return s;
    }

    /// <summary>dLogits = scale·exp(x − max)·cap′ everywhere, scale = gradScale / sum; the target's is mended afterwards.</summary>
    private static void Gradients<TX, TD, TCap>(CrossEntropyArgs a, RowParts row, float max, float scale)
        where TX : struct, IStorage
        where TD : struct, IStorage
        where TCap : struct, ICap
    {
        int step = Group.DimX;
        int p = Group.IdxX < row.Octets ? Group.IdxX + (row.Octets - 1 - Group.IdxX) / step * step : -1;
        for (; TX.Size == 2 && !TCap.Caps && p >= 3 * step; p -= 4 * step)
        {
            long at = row.Body + 8L * p, back = 8L * step;
            Octet x = TX.LoadOctet(a.Logits, at), y = TX.LoadOctet(a.Logits, at - back), z = TX.LoadOctet(a.Logits, at - 2 * back), w = TX.LoadOctet(a.Logits, at - 3 * back);
            TD.StoreOctet(a.DLogits, at, Gradient<TX, TCap>(x, max, scale, a.SoftCap));
            TD.StoreOctet(a.DLogits, at - back, Gradient<TX, TCap>(y, max, scale, a.SoftCap));
            TD.StoreOctet(a.DLogits, at - 2 * back, Gradient<TX, TCap>(z, max, scale, a.SoftCap));
            TD.StoreOctet(a.DLogits, at - 3 * back, Gradient<TX, TCap>(w, max, scale, a.SoftCap));
        }
        for (; p >= 0; p -= step)
        {
            Octet x = Apply<TCap>(TX.LoadOctet(a.Logits, row.Body + 8L * p), a.SoftCap);
            TD.StoreOctet(a.DLogits, row.Body + 8L * p, Gradient<TX, TCap>(x, max, scale, a.SoftCap));
        }
        for (int i = Group.IdxX; i < row.Singles; i += step)
        {
            float x = TCap.Apply(TX.Load(a.Logits, row.Single(i)), a.SoftCap);
            TD.Store(a.DLogits, row.Single(i), Gradient<TX, TCap>(x, max, scale, a.SoftCap));
        }
    }

    private struct MaxAndSum
    {
        public float Max, Sum;
    }

    private static MaxAndSum Raise<TX>(MaxAndSum s, float candidate)
        where TX : struct, IStorage
    {
        float max = MathF.Max(s.Max, candidate);
        s.Sum *= DeviceMath.Exp<TX>(s.Max - max);
        s.Max = max;
        return s;
    }

    private static float Max(Octet o) => MathF.Max(Max(o.Low), Max(o.High));

    private static float Max(Pack p) => MathF.Max(MathF.Max(p.X, p.Y), MathF.Max(p.Z, p.W));

    private static float Exponentials<TX>(Octet o, float max)
        where TX : struct, IStorage => Exponentials<TX>(o.Low, max) + Exponentials<TX>(o.High, max);

    private static float Exponentials<TX>(Pack p, float max)
        where TX : struct, IStorage =>
        DeviceMath.Exp<TX>(p.X - max) + DeviceMath.Exp<TX>(p.Y - max) + (DeviceMath.Exp<TX>(p.Z - max) + DeviceMath.Exp<TX>(p.W - max));

    private static Octet Gradient<TX, TCap>(Octet o, float max, float scale, float cap)
        where TX : struct, IStorage
        where TCap : struct, ICap
    {
        o.Low = Gradient<TX, TCap>(o.Low, max, scale, cap);
        o.High = Gradient<TX, TCap>(o.High, max, scale, cap);
        return o;
    }

    private static Pack Gradient<TX, TCap>(Pack p, float max, float scale, float cap)
        where TX : struct, IStorage
        where TCap : struct, ICap =>
        new(Gradient<TX, TCap>(p.X, max, scale, cap), Gradient<TX, TCap>(p.Y, max, scale, cap), Gradient<TX, TCap>(p.Z, max, scale, cap), Gradient<TX, TCap>(p.W, max, scale, cap));

    private static float Gradient<TX, TCap>(float capped, float max, float scale, float cap)
        where TX : struct, IStorage
        where TCap : struct, ICap => DeviceMath.Exp<TX>(capped - max) * scale * TCap.Slope(capped, cap);

    private static Octet Apply<TCap>(Octet o, float cap)
        where TCap : struct, ICap
    {
        o.Low = new Pack(TCap.Apply(o.Low.X, cap), TCap.Apply(o.Low.Y, cap), TCap.Apply(o.Low.Z, cap), TCap.Apply(o.Low.W, cap));
        o.High = new Pack(TCap.Apply(o.High.X, cap), TCap.Apply(o.High.Y, cap), TCap.Apply(o.High.Z, cap), TCap.Apply(o.High.W, cap));
        return o;
    }

    /// <summary>Whether logits are capped first.</summary>
    private interface ICap
    {
        static abstract bool Caps { get; }

        static abstract float Apply(float x, float cap);

        /// <summary>Derivative of the cap where its value is <paramref name="capped"/>.</summary>
        static abstract float Slope(float capped, float cap);
    }

    private readonly struct Uncapped : ICap
    {
        public static bool Caps => false;

        public static float Apply(float x, float cap) => x;

        public static float Slope(float capped, float cap) => 1f;
    }

    private readonly struct Capped : ICap
    {
        public static bool Caps => true;

        public static float Apply(float x, float cap) => DeviceMath.Cap(x, cap);

        // d cap(x)/dx = 1 − (cap(x)/c)²
        public static float Slope(float capped, float cap) => 1f - capped / cap * (capped / cap);
    }
}
