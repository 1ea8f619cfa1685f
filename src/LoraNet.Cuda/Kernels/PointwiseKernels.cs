namespace LoraNet.Cuda.Kernels;

/// <summary>Arguments of <see cref="PointwiseKernels"/>.</summary>
internal struct PointwiseArgs
{
    public long A, B, Y, Count;
    public float Alpha;
    public int Flag;
}

/// <summary>Sums, multiples, casts and caps of tensors of one shape.</summary>
internal static class PointwiseKernels
{
    public static void Add<TA, TB, TY>(PointwiseArgs a)
        where TA : struct, IStorage
        where TB : struct, IStorage
        where TY : struct, IStorage
    {
        bool octets = Flat.AllowsOctets(a.A | a.B | a.Y);
        for (long i = Flat.FirstOctet; i < a.Count; i += Flat.OctetStep)
        {
            if (octets && i + 8 <= a.Count)
            {
                Octet p = TA.LoadOctet(a.A, i), q = TB.LoadOctet(a.B, i);
                TY.StoreOctet(a.Y, i, Octet.Add(p, q));
            }
            else
            {
                for (long j = i; j < Flat.OctetEnd(i, a.Count); j++) TY.Store(a.Y, j, TA.Load(a.A, j) + TB.Load(a.B, j));
            }
        }
    }

    /// <summary>y (+)= alpha·x; Flag = accumulate.</summary>
    public static void Scale<TX, TY>(PointwiseArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        for (long i = Flat.First; i < a.Count; i += Flat.Step)
        {
            Pack p = Flat.Load<TX>(a.A, i, a.Count);
            p = new Pack(a.Alpha * p.X, a.Alpha * p.Y, a.Alpha * p.Z, a.Alpha * p.W);
            if (a.Flag != 0)
            {
                Pack y = Flat.Load<TY>(a.Y, i, a.Count);
                p = new Pack(y.X + p.X, y.Y + p.Y, y.Z + p.Z, y.W + p.W);
            }
            Flat.Store<TY>(a.Y, i, a.Count, p);
        }
    }

    /// <summary>y = alpha·tanh(x / alpha).</summary>
    public static void SoftCap<TX, TY>(PointwiseArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        for (long i = Flat.First; i < a.Count; i += Flat.Step)
        {
            Pack p = Flat.Load<TX>(a.A, i, a.Count);
            Flat.Store<TY>(a.Y, i, a.Count, new Pack(DeviceMath.Cap(p.X, a.Alpha), DeviceMath.Cap(p.Y, a.Alpha), DeviceMath.Cap(p.Z, a.Alpha), DeviceMath.Cap(p.W, a.Alpha)));
        }
    }

    /// <summary>y = a / b (Flag set) or a·b, all F32.</summary>
    public static void Binary(PointwiseArgs a)
    {
        for (long i = Flat.First; i < a.Count; i += Flat.Step)
        {
            Pack p = Flat.Load<StoredF32>(a.A, i, a.Count), q = Flat.Load<StoredF32>(a.B, i, a.Count);
            Pack y = a.Flag != 0
                ? new Pack(p.X / q.X, p.Y / q.Y, p.Z / q.Z, p.W / q.W)
                : new Pack(p.X * q.X, p.Y * q.Y, p.Z * q.Z, p.W * q.W);
            Flat.Store<StoredF32>(a.Y, i, a.Count, y);
        }
    }
}
